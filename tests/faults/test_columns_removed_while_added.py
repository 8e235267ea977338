"""Columns rm of a set in a bucket that somebody is adding, or that an add left half noted: no listed set loses a file, and no stranger one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, pack_cities
from tests.support.failing_bucket import FailingBucket, dataset_in
from tests.support.killed import KilledError
from tests.support.outcome import contents
from wdstools.columns.sets import read_sums
from wdstools.errors import BusyError
from wdstools.ops.columns import in_bucket
from wdstools.ops.columns.ours import Ours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wdstools.stores.base import RemoteStore

WAITING, IN_PLACE, LIST = ".wdstools/columns-next/n/", ".wdstools/columns/n/", ".wdstools/columns/SHA256SUMS"


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=6, val=2)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def put(bucket: FailingBucket, packed: Path, value: int) -> None:
    keys = keys_of(packed)
    wt.add_columns(dataset_in(bucket, packed), pa.table({"key": keys, "a": [value] * len(keys)}), name="n")


def remove(bucket: FailingBucket, packed: Path) -> None:
    wt.remove_columns(dataset_in(bucket, packed), "n")


def before(bucket: FailingBucket, what: Callable[[str], bool], act: Callable[[], object]) -> None:
    """Act once, before the first change of an object of which ``what`` is true."""

    def come(key: str) -> None:
        if what(key):
            bucket.act = lambda _: None
            act()

    bucket.act = come


def killed(bucket: FailingBucket, what: Callable[[str], bool], change: Callable[[], object]) -> None:
    def die() -> None:
        raise KilledError

    before(bucket, what, die)
    with pytest.raises(KilledError):
        change()


def test_a_set_whose_files_are_removed_before_the_list_names_it_does_not_come(packed: Path) -> None:
    bucket = FailingBucket(contents(packed))
    before(bucket, lambda key: key == f"{IN_PLACE[:-1]}.json", lambda: remove(bucket, packed))
    with pytest.raises(BusyError):
        put(bucket, packed, 1)
    assert LIST not in bucket.contents()
    assert wt.verify(dataset_in(bucket, packed)).ok
    bucket = FailingBucket(contents(packed))
    before(bucket, lambda key: key == LIST, lambda: remove(bucket, packed))
    with pytest.raises(BusyError):
        put(bucket, packed, 1)
    assert wt.verify(dataset_in(bucket, packed)).ok
    put(bucket, packed, 1)
    assert wt.verify(dataset_in(bucket, packed)).ok


def test_a_removal_that_sees_the_list_changed_stops_and_takes_no_file(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list comes to name the set after its notes are gone, and before the first of its files would go."""
    done = FailingBucket(contents(packed))
    put(done, packed, 1)
    bucket, renote = FailingBucket(contents(packed)), Ours.renote
    killed(bucket, lambda key: key == LIST, lambda: put(bucket, packed, 1))

    def and_then(ours: Ours) -> list[str]:
        made = renote(ours)
        bucket.put(LIST, done.contents()[LIST])
        return made

    monkeypatch.setattr(Ours, "renote", and_then)
    with pytest.raises(BusyError):
        remove(bucket, packed)
    assert wt.verify(dataset_in(bucket, packed)).ok
    remove(bucket, packed)
    assert [key for key in bucket.contents() if "column" in key] == [LIST]


@pytest.mark.slow
def test_an_add_whose_notes_are_gone_when_the_list_names_the_set_takes_it_back(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who took them away has not seen the list, and goes on with the files."""
    bucket, change = FailingBucket(contents(packed)), in_bucket._change

    def and_then(store: RemoteStore, version: str, sums: Mapping[str, str]) -> None:
        change(store, version, sums)
        monkeypatch.setattr(in_bucket, "_change", change)
        Ours.of(store, "n").renote()

    monkeypatch.setattr(in_bucket, "_change", and_then)
    with pytest.raises(BusyError):
        put(bucket, packed, 1)
    assert read_sums(bucket) == {}
    put(bucket, packed, 2)
    assert wt.verify(dataset_in(bucket, packed)).ok
    assert not [key for key in bucket.contents() if key.startswith(WAITING)]


@pytest.mark.parametrize("value", [1, 2])
def test_a_stale_note_takes_nothing_that_another_user_stores(
    packed: Path, monkeypatch: pytest.MonkeyPatch, value: int
) -> None:
    """The same bytes, or others."""
    bucket = FailingBucket(contents(packed))
    monkeypatch.setenv("WDSTOOLS_PACK_SECRET", "a" * 32)
    killed(bucket, lambda key: key.startswith(IN_PLACE), lambda: put(bucket, packed, 1))

    def as_the_first() -> None:
        monkeypatch.setenv("WDSTOOLS_PACK_SECRET", "a" * 32)
        remove(bucket, packed)
        monkeypatch.setenv("WDSTOOLS_PACK_SECRET", "b" * 32)

    monkeypatch.setenv("WDSTOOLS_PACK_SECRET", "b" * 32)
    before(bucket, lambda key: key == LIST, as_the_first)
    put(bucket, packed, value)
    assert wt.verify(dataset_in(bucket, packed)).ok
    assert not [key for key in bucket.contents() if key.startswith(WAITING)]


def test_a_removal_that_is_killed_after_the_notes_goes_on(packed: Path) -> None:
    bucket = FailingBucket(contents(packed))
    killed(bucket, lambda key: key == LIST, lambda: put(bucket, packed, 1))
    first = next(key for key in bucket.contents() if key.startswith(IN_PLACE))
    bucket.put(first, b"x" + bucket.contents()[first][1:])  # only a note says that it is ours
    killed(bucket, lambda key: key.startswith(IN_PLACE), lambda: remove(bucket, packed))
    assert first in bucket.contents()
    remove(bucket, packed)
    assert not [key for key in bucket.contents() if "column" in key]


def test_a_file_that_the_plan_keeps_stays_whatever_notes_are_left(packed: Path) -> None:
    """The add is killed between changing the list and clearing its notes."""
    bucket, strange = FailingBucket(contents(packed)), f"{IN_PLACE}train-000000.parquet"
    killed(bucket, lambda key: LIST in bucket.contents(), lambda: put(bucket, packed, 1))
    assert [key for key in bucket.contents() if key.startswith(WAITING)]
    bucket.put(strange, b"of somebody else")
    plan = wt.plan_remove_columns(dataset_in(bucket, packed), "n")
    assert [step.path for step in plan.steps if step.action == "keep"] == [strange]
    wt.apply(plan)
    assert {key for key in bucket.contents() if "column" in key} == {LIST, strange}
