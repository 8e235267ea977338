"""Reading ahead from a store that is not a disk: how much, how many at once, from where, and when it stops."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.came import came
from tests.support.command import HANG_SECONDS
from tests.support.damaged_dataset import flipped, make_dataset, shard_regions
from tests.support.foreign_tars import tar_bytes
from tests.support.laws import SHORT_LAW
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, TransientError
from wdstools.formats.manifest import index_path
from wdstools.reader.prefetched import FetchedRanges, spans_of
from wdstools.reader.rows import RowTable
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    import pathlib

    from wdstools.dataset import Dataset

SHARD = "train/train-000000.tar"
SHUFFLES = (None, "block", "full")


class Far(MemoryStore):
    """A copy of a folder that notes what it is asked for; ``hook`` may answer otherwise."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, int | None]] = []
        self.hook: Any = None
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(str(path.relative_to(folder)), path.read_bytes())

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.asked.append((key, start, length))
        data = super().get(key, start, length)
        return data if self.hook is None else self.hook(key, data)

    def requests(self, part: str) -> int:
        return sum(part in key for key, _, _ in self.asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_dataset(tmp_path_factory.mktemp("ahead"), train=36, shard_samples=5)


def far(folder: pathlib.Path, *mirrors: Far) -> tuple[Dataset, Far]:
    store = Far(folder)
    return replace(wt.open_dataset(str(folder)), metadata=store, shards=store, mirrors=mirrors), store


def samples(dataset: Dataset, **options: Any) -> list[tuple[str, dict[str, bytes]]]:
    return [(sample.key, dict(sample)) for sample in wt.stream(dataset, **{"shuffle": None, **options})]


def fetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("wdstools-fetch", "wdstools-index"))]


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("ranks", [1, 3])
def test_order_bytes_and_state_are_those_of_local_reading(
    folder: pathlib.Path, shuffle: str | None, ranks: int
) -> None:
    near, (dataset, _) = wt.open_dataset(str(folder)), far(folder)
    options = {"shuffle": shuffle, "seed": 5, "world_size": ranks, "rank": ranks - 1}
    assert samples(dataset, **options) == samples(near, **options)
    here, there = (wt.loader(place, batch_size=4, image_size=32, **options) for place in (near, dataset))  # type: ignore[arg-type]
    ours, theirs = iter(there), iter(here)
    for _ in range(2):
        a, b = next(ours), next(theirs)
        assert (a.keys, a.captions) == (b.keys, b.captions)
        assert np.array_equal(a.images, b.images)
    state = there.state_dict()
    assert state == here.state_dict()
    resumed = wt.loader(near, batch_size=4, image_size=32, **options)  # type: ignore[arg-type]
    resumed.load_state_dict(state)
    assert [batch.keys for batch in resumed] == [batch.keys for batch in ours]
    there.close()
    here.close()


def test_samples_without_the_wanted_members_cost_no_request_and_no_room(tmp_path: pathlib.Path) -> None:
    parts = [(f"{n:02d}.{name}", b"%d" % n * 90) for n in range(40) for name in ("bin", "txt")[: 1 + n % 2]]
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "train-000000.tar").write_bytes(tar_bytes(parts))
    wt.adopt(tmp_path / "tars", tmp_path / "adopted", digests="xxh3")
    near, store = wt.open_dataset(tmp_path / "adopted"), Far(tmp_path / "tars")
    dataset = replace(near, shards=store)
    assert samples(dataset, members=["txt"]) == samples(near, members=["txt"])
    table = RowTable(dataset, "train", ("txt",))
    table.open(0)
    ranges = FetchedRanges(table)
    for first in (0, 20):
        ranges.ahead(np.arange(first, first + 20))
    shard, start, stop = (places.tolist() for places in table.locate(np.arange(40)))
    found = [bytes(ranges.read(*where)) for where in zip(shard, start, np.subtract(stop, start).tolist(), strict=True)]
    ranges.close()
    assert [bool(data) for data in found] == [False, True] * 20
    assert (ranges._held, ranges._fetches) == (0, {})
    assert all(length for _, _, length in store.asked)


def test_indexes_of_many_shards_are_fetched_at_once(folder: pathlib.Path) -> None:
    """Each of four waits for the three others: one after the other they would wait for ever."""
    dataset, store = far(folder)
    together = threading.Barrier(4)

    def hook(key: str, data: bytes) -> bytes:
        if key.endswith(".parquet"):
            together.wait(HANG_SECONDS)
        return data

    store.hook = hook
    assert len(dataset.manifest.splits["train"]) == 8
    assert samples(dataset, shuffle="full") == samples(wt.open_dataset(str(folder)), shuffle="full")


def test_each_index_is_fetched_once_and_kept_for_the_next_epoch(folder: pathlib.Path) -> None:
    dataset, store = far(folder)
    stream = wt.stream(dataset, shuffle="full")
    list(stream)
    list(stream)
    assert store.requests(".parquet") == len(dataset.manifest.splits["train"])


def test_no_more_is_held_than_the_budget(folder: pathlib.Path) -> None:
    dataset, store = far(folder)
    table = RowTable(dataset, "train", dataset.manifest.members)
    for shard in range(len(table.entries)):
        table.open(shard)
    store.asked.clear()
    most = max(entry.bytes for entry in table.entries)
    ranges = FetchedRanges(table, budget_bytes=2 * most)
    try:
        rows = np.arange(table.count)
        ranges.ahead(rows)
        time.sleep(0.1)  # for more, if there were
        begun = sum(length or 0 for _, _, length in store.asked)
        assert 0 < begun <= 2 * most
        for at, first, end in zip(*(part.tolist() for part in table.locate(rows)), strict=True):
            path = table.entries[at].path
            assert bytes(ranges.read(at, first, end - first)) == (folder / path).read_bytes()[first:end]
        assert len(store.asked) == len(table.entries)
    finally:
        ranges.close()


def test_a_row_far_behind_the_budget_is_not_waited_for_in_vain(folder: pathlib.Path) -> None:
    dataset, _ = far(folder)
    table = RowTable(dataset, "train", dataset.manifest.members)
    for shard in range(len(table.entries)):
        table.open(shard)
    ranges = FetchedRanges(table, budget_bytes=1)
    try:
        rows = np.arange(table.count)
        ranges.ahead(rows)
        shard, start, stop = (part.tolist() for part in table.locate(rows))
        for row in came(reversed(range(table.count))):
            data = bytes(ranges.read(shard[row], start[row], stop[row] - start[row]))
            assert data == (folder / table.entries[shard[row]].path).read_bytes()[start[row] : stop[row]]
    finally:
        ranges.close()


@pytest.mark.parametrize("many", [False, True])
def test_a_damaged_block_is_fetched_again_as_one(folder: pathlib.Path, many: bool) -> None:
    """Another object's bytes: not sample by sample, however many of them are damaged."""
    dataset, store = far(folder)
    left = [1]

    def hook(key: str, data: bytes) -> bytes:
        if key == SHARD and left[0]:
            left[0] = 0
            return b"x" * len(data) if many else flipped(data, 3000, 1)
        return data

    store.hook = hook
    assert samples(dataset) == samples(wt.open_dataset(str(folder)))
    assert store.requests(".tar") == len(dataset.manifest.splits["train"]) + 1


def test_what_stays_damaged_comes_from_a_mirror_as_one_block(folder: pathlib.Path) -> None:
    mirror = Far(folder)
    dataset, store = far(folder, mirror)
    store.put(SHARD, b"x" * len(store.get(SHARD)))
    store.asked.clear()
    assert samples(dataset) == samples(wt.open_dataset(str(folder)))
    assert [key for key, _, _ in mirror.asked] == [SHARD]
    assert store.requests(SHARD) == 2


def test_a_block_damaged_everywhere_is_put_together_from_its_samples(folder: pathlib.Path) -> None:
    """Each copy lacks another sample; nothing is lost."""
    shard = "train/train-000002.tar"
    first, second = [region for region in shard_regions(folder, shard) if region.what == "txt payload"][:2]
    mirror = Far(folder)
    dataset, store = far(folder, mirror)
    store.put(shard, flipped(store.get(shard), first.start, 1))
    mirror.put(shard, flipped(mirror.get(shard), second.start, 1))
    assert samples(dataset) == samples(wt.open_dataset(str(folder)))


def test_damage_everywhere_is_what_on_damage_says(folder: pathlib.Path) -> None:
    region = next(region for region in shard_regions(folder, SHARD) if region.what == "txt payload")
    mirror = Far(folder)
    dataset, store = far(folder, mirror)
    damaged = flipped(store.get(SHARD), region.start, 1)
    store.put(SHARD, damaged)
    mirror.put(SHARD, damaged)
    with pytest.raises(IntegrityError) as caught:
        samples(dataset)
    assert f"sample {region.key}, member txt" in caught.value.where
    left = wt.stream(dataset, shuffle=None, on_damage="skip")
    good = [key for key, _ in samples(wt.open_dataset(str(folder)))]
    assert [sample.key for sample in left] == [key for key in good if key != region.key]
    assert left.state_dict()["damaged"] == [region.key]
    assert [finding.key for finding in left.report().findings] == [region.key]


@pytest.mark.parametrize("gone", ["missing", "denied", "silent", "short"])
def test_a_shard_that_cannot_be_had_comes_from_a_mirror(folder: pathlib.Path, gone: str) -> None:
    mirror = Far(folder)
    dataset, store = far(folder, mirror)

    def hook(key: str, data: bytes) -> bytes:
        if key == SHARD and gone == "denied":
            raise StoreError("denied", code="denied")
        if key == SHARD and gone == "silent":
            raise TransientError("no answer")
        return data

    store.hook = hook
    if gone == "missing":
        store.delete(SHARD)
    if gone == "short":
        store.put(SHARD, store.get(SHARD)[:2000])
    near = wt.open_dataset(str(folder))
    assert samples(dataset) == samples(near)
    keys = [batch.keys for batch in wt.loader(dataset, batch_size=4, image_size=32)]
    assert keys == [batch.keys for batch in wt.loader(near, batch_size=4, image_size=32)]


def test_a_place_that_does_not_answer_is_asked_last(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Far(folder)
    dataset, store = far(folder, mirror)

    def hook(key: str, data: bytes) -> bytes:
        if key.endswith(".tar"):
            raise TransientError("no answer")
        return data

    store.hook = hook
    monkeypatch.setattr("wdstools.reader.prefetched._FLYING_BYTES", 1)  # one after the other
    assert samples(dataset) == samples(wt.open_dataset(str(folder)))
    assert store.requests(".tar") == 1
    assert mirror.requests(".tar") == len(dataset.manifest.splits["train"])


def test_a_shard_that_nobody_has_is_named_before_the_first_sample(folder: pathlib.Path) -> None:
    mirror = Far(folder)
    dataset, store = far(folder, mirror)
    store.delete(SHARD)
    mirror.delete(SHARD)
    with pytest.raises(NotFoundError) as caught:
        samples(dataset)
    assert caught.value.code == "shard-missing"
    assert SHARD in caught.value.where


def test_an_index_that_comes_damaged_is_fetched_again_and_then_from_a_mirror(folder: pathlib.Path) -> None:
    near = samples(wt.open_dataset(str(folder)))
    index = index_path(SHARD)
    dataset, store = far(folder)
    left = [1]

    def hook(key: str, data: bytes) -> bytes:
        if key == index and left[0]:
            left[0] = 0
            return flipped(data, len(data) // 2, 1)
        return data

    store.hook = hook
    assert samples(dataset) == near
    assert store.requests(index) == 2
    mirror = Far(folder)
    dataset, store = far(folder, mirror)
    store.put(index, flipped(store.get(index), 400, 1))
    assert samples(dataset) == near
    mirror.put(index, store.get(index))
    with pytest.raises(FormatError) as caught:
        samples(dataset)
    assert "train-000000" in caught.value.where
    store.delete(index)
    mirror.delete(index)
    with pytest.raises(NotFoundError) as missing:
        samples(dataset)
    assert missing.value.code == "index-missing"


@pytest.mark.parametrize("kind", ["stream", "loader"])
def test_leaving_early_ends_the_threads_and_asks_for_nothing_more(
    folder: pathlib.Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdstools.reader.prefetched._FLYING_BYTES", 1)  # one after the other: most still wait
    before = set(fetching())
    dataset, store = far(folder)

    def hook(key: str, data: bytes) -> bytes:
        time.sleep(0.02 if key.endswith(".tar") else 0)
        return data

    store.hook = hook
    reader: Any = (
        wt.stream(dataset, shuffle="full") if kind == "stream" else wt.loader(dataset, batch_size=2, image_size=32)
    )
    for _ in reader:
        assert set(fetching()) - before
        break
    assert not set(fetching()) - before
    asked = len(store.asked)
    time.sleep(0.1)
    assert len(store.asked) == asked


def test_a_store_that_fails_in_the_middle_gives_all_samples_before_it(folder: pathlib.Path) -> None:
    before = set(fetching())
    dataset, store = far(folder)
    path = dataset.manifest.splits["train"][3].path

    def hook(key: str, data: bytes) -> bytes:
        if key == path:
            raise StoreError("denied", code="denied")
        return data

    store.hook = hook
    stream = wt.stream(dataset, shuffle=None)
    got: list[str] = []
    with pytest.raises(StoreError) as caught:
        got.extend(sample.key for sample in stream)
    assert caught.value.code == "denied"
    assert len(got) == sum(entry.samples for entry in dataset.manifest.splits["train"][:3])
    assert stream.state_dict()["position"] == len(got)
    assert not set(fetching()) - before
    store.hook = None
    stream.load_state_dict(stream.state_dict())  # else the next loop is the next epoch
    got.extend(sample.key for sample in stream)
    assert got == [key for key, _ in samples(wt.open_dataset(str(folder)))]


@SHORT_LAW
@given(
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1 << 23), st.integers(1, 1 << 16)), max_size=60),
    gap=st.sampled_from([0, 1000, 1 << 17]),
)
def test_each_row_is_in_one_span_in_the_order_of_first_need(places: list[tuple[int, int, int]], gap: int) -> None:
    rows = np.arange(len(places)) + 7
    shard, start, size = (np.array(column, np.int64) for column in (zip(*places, strict=True) if places else ((),) * 3))
    spans = spans_of(rows, (shard, start, start + size), gap_bytes=gap)
    assert sorted(row for span in spans for row in span.rows) == rows.tolist()
    firsts = [min(span.rows) for span in spans]
    assert firsts == sorted(firsts)
    for span in spans:
        ends = span.start
        for row, first in zip(span.rows, span.starts, strict=True):
            at, begin, length = places[row - 7]
            assert (at, begin) == (span.shard, first)
            assert span.start <= begin <= ends + gap
            assert begin + length <= span.stop
            ends = max(ends, begin + length)
        assert ends == span.stop
        assert span.bytes <= 2 << 20 or len(span.rows) == 1
