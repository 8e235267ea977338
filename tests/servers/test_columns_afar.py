"""Added columns where the dataset is: in an object store, and on a web server, which cannot list."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, score_of, values_of, write_scores
from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.outcome import contents
from wdstools.errors import UsageError
from wdstools.stores.open import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.nginx import WebServer
    from tests.servers.s3 import S3Server
    from wdstools.stores.base import Store

WHERE = "score >= 0.5 and len(recaption) > 3"


@pytest.fixture(name="scored")
def _scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wt.pack(write_city_pairs(tmp_path / "source", train=12, val=4), tmp_path / "scored", shard_samples=4, name="cities")
    add_scores(tmp_path / "scored")
    return tmp_path / "scored"


def check(place: str, scored: Path, tmp_path: Path) -> None:
    """Columns are listed, chosen by, read in batches, verified and pulled there."""
    assert [(one.name, one.state) for one in wt.list_columns(place)] == [("scores", "ok")]
    wanted = [key for key in keys_of(scored) if score_of(key) >= 0.5]
    assert [info.key for info in wt.head(place, 99, where=WHERE)] == wanted
    seen: dict[str, float] = {}
    for batch in came(wt.loader(place, batch_size=3, columns=["score"], where=WHERE, decode="bytes", remainder="keep")):
        seen |= dict(zip(batch.keys, batch["score"].tolist(), strict=True))
    train = set(wt.open_dataset(scored)["train"].keys())
    assert seen == {key: score_of(key) for key in wanted if key in train}
    report = wt.verify(place)
    assert (report.ok, report.checked["column_files"]) == (True, len(wt.open_dataset(scored).manifest.shards))
    wt.pull(place, tmp_path / "part", selection=wt.select(where=WHERE))
    assert {key: row["score"] for key, row in values_of(tmp_path / "part", "scores").items()} == {
        key: score_of(key) for key in wanted
    }


def test_columns_on_a_web_server(scored: Path, nginx: WebServer, tmp_path: Path) -> None:
    shutil.copytree(scored, nginx.root / tmp_path.name)
    place = f"{nginx.endpoint}/{tmp_path.name}"
    check(place, scored, tmp_path)
    with pytest.raises(UsageError, match="in a folder or bucket"):
        wt.remove_columns(place, "scores")


def test_columns_in_an_object_store(
    scored: Path, swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift.env.items():
        monkeypatch.setenv(name, value)
    place = f"s3://{swift.new_bucket()}/cities"
    assert run_command("mirror", scored, place, "-y").code == 0
    check(place, scored, tmp_path)
    wt.remove_columns(scored, "scores")
    add_scores(scored, name="later")
    assert run_command("mirror", scored, place, "-y", "--delete").code == 0
    assert [one.name for one in wt.list_columns(place)] == ["later"]
    with pytest.raises(UsageError) as caught:
        wt.add_columns(place, pa.table({"key": keys_of(scored), "n": [0] * 16}), name="later")
    assert (caught.value.code, "existing" in caught.value.hint) == ("columns-taken", True)
    assert wt.verify(place).ok
    changed_there(place, scored, tmp_path)


def changed_there(place: str, scored: Path, tmp_path: Path) -> None:
    """Columns are added and removed where the dataset lies: what a folder would hold, and no file of another is touched."""
    keys, table = keys_of(scored), tmp_path / "scores.parquet"
    write_scores(table, keys)
    wt.remove_columns(scored, "later")
    wt.add_columns(scored, table)
    store = open_store(place)
    clash = run_command("columns", "add", place, table, "-y", "--json")
    assert (clash.code, clash.error["code"]) == (2, "columns-name")
    assert run_command("columns", "rm", place, "later", "-y").code == 0
    assert {info.key: info.bytes for info in store.list(".wdstools/columns/")} == {".wdstools/columns/SHA256SUMS": 0}
    mine = ".wdstools/columns/scores/val-000000.parquet"
    store.put(mine, b"mine")
    refused = run_command("columns", "add", place, table, "-y", "--json")
    assert (refused.code, refused.error["code"]) == (4, "file-in-the-way")
    assert wt.list_columns(place) == ()
    assert store.get(mine) == b"mine"
    store.delete(mine)
    added = run_command("columns", "add", place, table, "-y", "--json")  # what the first has stored is the same
    assert (added.code, added.summary["name"]) == (0, "scores"), added.err
    assert columns_in(store) == of_a_folder(scored)
    assert wt.verify(place).ok
    for existing in ("update", "replace"):
        for where in (place, scored):
            new = pa.table({"key": keys[:5], "score": pa.array([9.0] * 5, pa.float32())})
            wt.add_columns(where, new, name="scores", existing=existing)
        assert columns_in(store) == of_a_folder(scored)


def columns_in(store: Store) -> dict[str, bytes]:
    """Every file of added columns there, wherever it waits."""
    return {info.key: store.get(info.key) for info in store.list(".wdstools/columns")}


def of_a_folder(dataset: Path) -> dict[str, bytes]:
    """The same of a folder."""
    return {path: data for path, data in contents(dataset).items() if path.startswith(".wdstools/columns")}
