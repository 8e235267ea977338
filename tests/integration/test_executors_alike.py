"""Every verb gives the same roots, findings and groups whoever does the work."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support.verbs_alike import make_images, must_find, run_verbs
from wdstools.dedup import few, groups, parts
from wdstools.executors.futures import FuturesExecutor
from wdstools.executors.local import Threads
from wdstools.executors.processes import Processes
from wdstools.ops.duplicates import images
from wdstools.progress import Silent
from wdstools.stores.cache import Caching
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.executors.base import Executor
    from wdstools.options.pack import DuplicateLevel

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*may lead to deadlocks:DeprecationWarning")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_images(str(tmp_path_factory.mktemp("alike") / "images"))


@pytest.fixture(scope="module")
def expected(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = run_verbs(source, str(tmp_path_factory.mktemp("alike") / "serial"), None)
    must_find(found)
    return found


@pytest.fixture(params=["threads", "processes", "futures"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "futures":
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            yield FuturesExecutor(pool)
        return
    made = Threads(2) if request.param == "threads" else Processes(2)
    yield made
    made.close()


def test_every_verb_gives_the_same_with_each_kind(
    executor: Executor, source: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    assert run_verbs(source, str(tmp_path / "x"), executor) == expected


def test_duplicates_searched_by_ranges_are_those_of_one_pass(
    executor: Executor, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = wt.pack(source, tmp_path / "shards", shard_samples=25).path
    whole = wt.find_duplicates(place, level="edited")
    monkeypatch.setattr(few, "FEW_CODES", 0)
    monkeypatch.setattr(parts, "_SHORTEST", 1e-12)
    monkeypatch.setattr(groups, "MEMBERS_AT_ONCE", 1)
    steps: list[tuple[str, int]] = []
    cut = wt.find_duplicates(place, level="edited", executor=executor, progress=_Steps(steps))
    assert whole.groups
    assert (cut.groups, cut.levels) == (whole.groups, whole.levels)
    assert dict(steps)["search hashes"] >= 20 * executor.jobs


@pytest.mark.parametrize("level", ["exact", "re-encode", "edited"])
def test_very_many_images_are_outlined_first_and_the_answer_is_the_same(
    executor: Executor, level: DuplicateLevel, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = wt.pack(source, tmp_path / "shards", shard_samples=25).path
    whole = wt.find_duplicates(place, level=level, captions=True)
    monkeypatch.setattr(images, "_FEW", 0)
    monkeypatch.setattr(few, "FEW_CODES", 0)
    monkeypatch.setattr(parts, "_SHORTEST", 1e-12)
    steps: list[tuple[str, int]] = []
    again = wt.find_duplicates(place, level=level, captions=True, executor=executor, progress=_Steps(steps))
    assert whole.groups
    assert dict(steps)["look at candidates"] < whole.samples
    assert replace(again, computed=whole.computed) == whole


class _Steps(Silent):
    """Notes which steps begin, and of how many units."""

    def __init__(self, steps: list[tuple[str, int]]) -> None:
        self._steps = steps

    def start(self, task: str, total: int, unit: str) -> None:
        self._steps.append((task, total))


def test_a_relative_destination_is_the_callers_whatever_folder_a_worker_is_in(
    source: str, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context, initializer=os.chdir, initargs=("/",)) as pool:
        made = wt.pack(source, "out", executor=FuturesExecutor(pool), shard_samples=25, name="alike")
    assert made.root == expected["pack"][0]
    assert os.listdir(tmp_path) == ["out"]


def test_a_relative_destination_on_several_hosts_is_refused_before_anything_is_done(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(wt.UsageError) as caught:
        wt.pack(source, "out", executor=FuturesExecutor(pool, shared_disk=False))
    assert caught.value.code == "path-not-shared"
    assert str(tmp_path) in caught.value.hint
    assert os.listdir(tmp_path) == []


def test_a_cache_of_this_machine_is_refused_on_several_hosts(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of hashes, and of blocks that are read from afar; in a bucket the hashes may be."""
    monkeypatch.chdir(tmp_path)
    wt.pack(source, tmp_path / "set")
    before = sorted(os.listdir(tmp_path))
    blocks = Caching(remote(LocalStore(str(tmp_path / "set"))), "cache", "root", limit_bytes=1 << 20)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        apart = FuturesExecutor(pool, shared_disk=False)
        for ask in (
            lambda: wt.find_duplicates(tmp_path / "set", cache="hashes", executor=apart),
            lambda: apart.share(blocks),
        ):
            with pytest.raises(wt.UsageError) as caught:
                ask()
            assert (caught.value.code, "bucket" in caught.value.hint) == ("path-not-shared", True)
    assert sorted(os.listdir(tmp_path)) == before
