"""A dataset in a bucket has its next version under another prefix: what stays is copied by the server, and nothing half-done counts."""

from __future__ import annotations

import os
import re
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import wdstools as wt
from tests.servers.proxy import Fault
from tests.support.added_columns import add_scores, score_of, values_of
from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS, assert_clean_failure, run_command, start_command
from tests.support.outcome import contents
from wdstools.dataset import CLAIM_PATH
from wdstools.errors import SourceChangedError
from wdstools.formats.columns import column_path, waiting_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.next_version import in_bucket
from wdstools.reader.select import Selection
from wdstools.stores.open import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.proxy import FaultProxy
    from tests.servers.s3 import S3Server

OPTIONS: dict[str, Any] = {"shards": 2, "name": "pairs", "check": "header"}


@pytest.fixture(scope="module", name="old")
def _old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with columns and something skipped, in a folder."""
    source = write_city_pairs(tmp_path_factory.mktemp("source") / "source", train=18, val=6, damaged=True)
    folder = tmp_path_factory.mktemp("old") / "old"
    wt.pack(source, folder, **OPTIONS)
    add_scores(folder)
    return folder


@pytest.fixture(scope="module", name="more")
def _more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("more") / "more", train=20, val=7)


@pytest.fixture(name="place")
def _place(old: Path, swift: S3Server, proxy: FaultProxy) -> str:
    """The same dataset in a bucket."""
    place = f"s3://{swift.new_bucket()}/city"
    wt.mirror(old, place, jobs=2)
    proxy.seen.clear()
    return place


def held(url: str) -> dict[str, bytes]:
    store = open_store(url)
    return {info.key: store.get(info.key) for info in store.list()}


def some_keys(old: Path, count: int = 2) -> list[str]:
    """Keys of one shard."""
    return list(wt.open_dataset(old)["train"].keys())[:count]


def gone(old: Path) -> Selection:
    return Selection(keys=frozenset(some_keys(old)))


def _removed(old: Path, folder: Path) -> dict[str, bytes]:
    """What the same removal makes on a disk."""
    wt.remove(old, gone(old), output=folder)
    return contents(folder)


def test_a_removal_from_a_bucket_into_another_prefix(old: Path, place: str, proxy: FaultProxy, tmp_path: Path) -> None:
    new, keys = f"{place}-2", tmp_path / "keys"
    keys.write_text("\n".join(some_keys(old)))
    ran = run_command("remove", place, "--keys", keys, "-o", new, "-y", "--json")
    assert ran.code == 0, ran.err
    # one shard was written anew; the others never came here
    (written,) = ran.summary["shards"]
    path = place.removeprefix("s3:/")
    files = {seen.path for seen in proxy.seen if seen.method == "GET" and re.search(r"\.tar|/scores/", seen.path)}
    assert files == {f"{path}/{written}", f"{path}/{column_path('scores', written)}"}
    expected = _removed(old, tmp_path / "near")
    assert held(new) == expected
    assert wt.verify(new, root=ran.summary["root"], level="samples").ok
    for where, code in ((new, "destination-not-empty"), (place, "destination-in-source")):
        again = run_command("remove", place, "--keys", keys, "-o", where, "-y", "--json")
        assert_clean_failure(again, 4 if where == new else 2)
        assert again.error["code"] == code
    for command in (("remove", place, "--keys", keys), ("append", place, tmp_path)):
        refused = run_command(*command, "--in-place", "-y", "--json")
        assert_clean_failure(refused, 2)
        assert (refused.error["code"], "mirror" in refused.error["hint"]) == ("change-elsewhere", True)
    assert values_of(new, "scores") == {
        key: row for key, row in values_of(place, "scores").items() if key not in some_keys(old)
    }


@pytest.mark.slow  # three changes in a slow server
def test_columns_that_are_not_in_their_place_are_proved_on_their_way(old: Path, place: str) -> None:
    store, new = open_store(place), f"{place}-2"
    path = column_path("scores", wt.open_dataset(old).manifest.shards[-1][1].path)
    data = store.get(path)
    for damaged in (data[:-1], None):
        store.delete(path)
        if damaged is not None:
            store.put(path, damaged)
        with pytest.raises(wt.WdsError) as caught:
            wt.remove(place, gone(old), output=new)
        assert path in caught.value.where
        assert MANIFEST_PATH not in held(new)
    # a change of the columns was cut short after their list named this file, which waits
    store.put(waiting_path(path, sha256_hex(data)), data)
    store.put(path, data[::-1])
    wt.remove(place, gone(old), output=new)
    assert open_store(new).get(path) == data


@pytest.mark.slow
def test_an_append_into_another_prefix_and_back_in_the_old_ones_place(
    old: Path, more: Path, place: str, tmp_path: Path
) -> None:
    new = f"{place}-2"
    wt.append(old, more, output=tmp_path / "near")
    ran = run_command("append", place, more, "-o", new, "-y", "--json")
    assert ran.code == 0, ran.err
    assert held(new) == contents(tmp_path / "near")
    again = run_command("append", place, more, "-o", new, "-y", "--json")
    assert (again.code, again.summary["appended"]) == (0, {}), again.err
    back = run_command("mirror", new, place, "--replace", "--delete", "-y")
    assert back.code == 0, back.err
    assert held(place) == held(new)
    assert wt.verify(place).ok


@pytest.mark.slow
def test_between_a_folder_and_a_bucket(old: Path, place: str, swift: S3Server, tmp_path: Path) -> None:
    selection, elsewhere = gone(old), f"s3://{swift.new_bucket()}/up"
    expected = _removed(old, tmp_path / "near")
    wt.remove(place, selection, output=tmp_path / "down")
    assert contents(tmp_path / "down") == expected
    wt.remove(old, selection, output=elsewhere)
    assert held(elsewhere) == expected


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(("PUT", "/train-000001.tar"), marks=pytest.mark.slow),
        pytest.param(("PUT", "/train-000000.parquet"), marks=pytest.mark.slow),
        pytest.param(("PUT", "/scores.json"), marks=pytest.mark.slow),
        pytest.param(("PUT", "manifest.json"), marks=pytest.mark.slow),
        pytest.param(("DELETE", "claim.json"), marks=pytest.mark.slow),
    ],
)
def test_a_change_that_is_killed_goes_on(
    old: Path, place: str, proxy: FaultProxy, at: tuple[str, str], tmp_path: Path
) -> None:
    new, keys = f"{place}-2", tmp_path / "keys"
    keys.write_text("\n".join(some_keys(old)))
    command = ("remove", place, "--keys", str(keys), "-o", new, "-y", "--json")
    with start_command(*command) as process:
        hook = Fault("hook", path=at[1], method=at[0], hook=lambda: os.killpg(process.pid, signal.SIGKILL))
        proxy.add(hook)
        process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == -signal.SIGKILL
    landed = any(info.key == ".wdstools/manifest.json" for info in open_store(new).list())
    ran = run_command(*command)
    if ran.code:  # it was there, and only some notes were left
        assert (ran.error["code"], landed) == ("destination-not-empty", True)
    assert held(new) == _removed(old, tmp_path / "near")
    assert score_of(some_keys(old, 3)[2]) == values_of(new, "scores")[some_keys(old, 3)[2]]["score"]


@pytest.mark.slow
def test_a_copy_that_the_server_does_not_make_whole_is_no_copy(old: Path, place: str, proxy: FaultProxy) -> None:
    new = f"{place}-2"
    proxy.add(Fault("swallowed", path="/val-000000.tar", method="PUT", times=9))
    with pytest.raises(wt.StoreError):
        wt.remove(place, gone(old), output=new)
    assert ".wdstools/manifest.json" not in held(new)


def _numbers(keys: list[str], value: int) -> pa.Table:
    return pa.table({"key": keys, "x": [value] * len(keys)})


def _remirrored(old: Path, place: str, near: Path, before: pa.Table, after: pa.Table) -> None:
    """The same dataset with another set ``x``, mirrored there and killed before it stored the list."""
    shutil.copytree(old, near)
    wt.add_columns(near, before, name="x")
    wt.add_columns(near, after, name="x", existing="update")
    store = open_store(place)
    store.put(CLAIM_PATH, b"{}")
    for path, data in contents(near).items():
        if path.startswith(".wdstools/columns/x/"):
            store.put(path, data)


@pytest.mark.parametrize(
    "how", ["updated", *(pytest.param(one, marks=pytest.mark.slow) for one in ("removed", "mirrored"))]
)
def test_columns_that_change_while_the_server_copies_them_are_not_published(
    old: Path, place: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, begin = f"{place}-2", in_bucket._begin
    of_first = wt.open_dataset(old).manifest.splits["train"][0].samples
    one, two = _numbers(some_keys(old, 99), 1), _numbers(some_keys(old, 99)[of_first:], 2)
    wt.add_columns(place, one, name="x")
    before = {path: data for path, data in held(place).items() if "/columns/x/" in path}

    def begin_and_change(*args: Any) -> None:
        """Another process changes the set while shards are written."""
        begin(*args)
        if how == "updated":
            wt.add_columns(place, two, name="x", existing="update")
        elif how == "removed":
            wt.remove_columns(place, "x")
            for path, data in before.items():  # and somebody is about to add another one of this name
                open_store(place).put(path, data[::-1] if "train-000001" in path else data)
        else:
            _remirrored(old, place, tmp_path / "near", one, two)

    with monkeypatch.context() as patched:
        patched.setattr(in_bucket, "_begin", begin_and_change)
        with pytest.raises(SourceChangedError) as caught:
            wt.remove(place, gone(old), output=new)
    assert "again" in caught.value.hint
    after = {path: data for path, data in held(place).items() if path in before}
    assert [*map(len, after.values())] == [*map(len, before.values())]
    assert after != before
    assert not any("/columns/" in path or path == MANIFEST_PATH for path in held(new))
    if how == "mirrored":
        return
    wt.remove(place, gone(old), output=new)
    assert wt.verify(new, level="samples").ok
    assert not any("packing" in path for path in held(new))
    if how == "updated":
        assert {row["x"] for row in values_of(new, "x").values()} == {1, 2, None}
    else:
        assert {path for path in held(new) if "columns/x" in path} == set()
