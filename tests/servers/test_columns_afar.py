"""Added columns where the dataset is: in an object store, and on a web server, which cannot list."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, score_of, values_of
from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.nginx import WebServer
    from tests.servers.s3 import S3Server

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
    with pytest.raises(UsageError, match="in its folder"):
        wt.remove_columns(place, "scores")


def test_columns_on_a_web_server(scored: Path, nginx: WebServer, tmp_path: Path) -> None:
    shutil.copytree(scored, nginx.root / tmp_path.name)
    check(f"{nginx.endpoint}/{tmp_path.name}", scored, tmp_path)


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
    assert wt.verify(place).ok
