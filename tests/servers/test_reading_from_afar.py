"""Reading a dataset in a bucket: what comes is what was packed, whatever the network does, or a named error."""

from __future__ import annotations

import os
import pickle
import random
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.proxy import Fault
from tests.support.bucket import InBucket, in_bucket
from tests.support.command import HANG_SECONDS
from tests.support.damaged_dataset import flipped, make_dataset, shard_regions
from tests.support.laws import SHORT_LAW
from wdstools.dataset import open_dataset
from wdstools.errors import IntegrityError, StoreError
from wdstools.reader.stream import stream
from wdstools.stores.cache import Caching
from wdstools.stores.latency import measure_link
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import open_store, remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.nginx import WebServer
    from tests.servers.s3 import S3Server
    from wdstools.stores.base import ObjectInfo

SHARD = "train/train-000000.tar"


@pytest.fixture
def copy(swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InBucket]:
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.01)
    yield from in_bucket(make_dataset(tmp_path), swift, monkeypatch)


def everything(where: object, split: str = "train", **options: object) -> list[tuple[str, dict[str, bytes]]]:
    dataset = open_dataset(str(where), **options)  # type: ignore[arg-type]  # options of open_dataset
    return [(sample.key, dict(sample)) for sample in dataset.split(split)]


def test_what_is_read_from_a_bucket_is_what_is_read_from_the_disk(copy: InBucket) -> None:
    for split in ("train", "val"):
        assert everything(copy.url, split) == everything(copy.folder, split)
    dataset, near = open_dataset(copy.url), open_dataset(str(copy.folder))
    assert dict(dataset["train"][3]) == dict(near["train"][3])
    key = near["train"][7].key
    assert dict(dataset[key]) == dict(near[key])
    assert pickle.loads(pickle.dumps(dataset))["val"][0].key == near["val"][0].key  # noqa: S301  # pickled here


def test_samples_that_lie_together_are_one_request(copy: InBucket) -> None:
    dataset = open_dataset(copy.url)
    shards = len(dataset.manifest.splits["train"])
    copy.proxy.clear()
    list(dataset["train"])
    assert len([seen for seen in copy.proxy.seen if seen.method == "GET" and ".tar" in seen.path]) == shards
    copy.proxy.clear()
    dataset["train"][2]
    assert len([seen for seen in copy.proxy.seen if seen.method == "GET" and ".tar" in seen.path]) == 1


@pytest.mark.parametrize("fault", ["flip", "foreign", "short", "reset", "busy", "range-ignored", "wrong-range"])
def test_a_fault_on_the_way_changes_nothing(copy: InBucket, fault: str) -> None:
    copy.proxy.add(Fault(fault, path=SHARD, body=b"something else", times=1))
    assert everything(copy.url) == everything(copy.folder)
    assert copy.proxy.faults[0].times == 0


@pytest.mark.parametrize("shuffle", [None, "block", "full"])
def test_an_epoch_from_afar_is_the_epoch_from_the_disk(copy: InBucket, shuffle: str | None) -> None:
    """Order and bytes, with a bit flipped, another's bytes, and refusals on the way."""
    near = [(sample.key, dict(sample)) for sample in stream(str(copy.folder), "train", shuffle=shuffle, seed=3)]
    faults = {"train-000000.tar": "flip", "train-000001.tar": "foreign", "train-000002.tar": "busy"}
    copy.proxy.add(*(Fault(name, path=path, body=b"x") for path, name in faults.items()))
    far = [(sample.key, dict(sample)) for sample in stream(copy.url, "train", shuffle=shuffle, seed=3)]
    assert far == near


def test_a_stream_takes_from_a_mirror_what_is_damaged(copy: InBucket, tmp_path: Path) -> None:
    data = (copy.folder / SHARD).read_bytes()
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
    copy.put(SHARD, flipped(data, region.start, 1))
    near = [(sample.key, dict(sample)) for sample in stream(str(copy.folder), "train", shuffle=None)]
    with pytest.raises(IntegrityError):
        list(stream(copy.url, "train", shuffle=None))
    left = stream(copy.url, "train", shuffle=None, on_damage="skip")
    assert region.key not in [sample.key for sample in left]
    assert [finding.key for finding in left.report().findings] == [region.key]
    cache = str(tmp_path / "cache")
    for _ in range(2):
        mended = open_dataset(copy.url, mirrors=[str(copy.folder)], cache=cache)
        assert [(sample.key, dict(sample)) for sample in stream(mended, "train", shuffle=None)] == near


def test_damage_in_the_bucket_is_an_error_that_names_it(copy: InBucket) -> None:
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
    copy.put(SHARD, flipped((copy.folder / SHARD).read_bytes(), region.start, 1))
    with pytest.raises(IntegrityError) as caught:
        everything(copy.url)
    assert caught.value.code == "sample-damaged"
    assert f"sample {region.key}, member txt" in caught.value.where


@pytest.mark.parametrize("what", ["flipped", "missing", "cut", "forbidden"])
def test_a_mirror_has_what_the_bucket_has_not(copy: InBucket, what: str) -> None:
    """Read repair: the second copy is asked only for what the first does not have."""
    data = (copy.folder / SHARD).read_bytes()
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
    if what == "flipped":
        copy.put(SHARD, flipped(data, region.start, 1))
    elif what == "cut":
        copy.put(SHARD, data[: len(data) // 2])
    elif what == "missing":
        copy.delete(SHARD)
    else:
        copy.proxy.add(Fault("forbidden", path=SHARD, times=1000))
    assert everything(copy.url, mirrors=[str(copy.folder)]) == everything(copy.folder)


def test_a_damaged_local_copy_reads_its_damaged_samples_from_the_bucket(copy: InBucket) -> None:
    good = everything(copy.folder)
    data = (copy.folder / SHARD).read_bytes()
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "jpg payload")
    (copy.folder / SHARD).write_bytes(flipped(data, region.start + 9, 1))
    copy.proxy.clear()
    assert everything(copy.folder, mirrors=[copy.url]) == good
    assert 0 < copy.proxy.bytes_sent(".tar") < len(data) / 2


def test_a_mirror_that_is_damaged_too_does_not_help(copy: InBucket) -> None:
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
    damaged = flipped((copy.folder / SHARD).read_bytes(), region.start, 1)
    copy.put(SHARD, damaged)
    (copy.folder / SHARD).write_bytes(damaged)
    with pytest.raises(IntegrityError):
        everything(copy.url, mirrors=[str(copy.folder)])


def test_a_bucket_that_is_gone_is_an_error(copy: InBucket) -> None:
    dataset = open_dataset(copy.url)
    copy.proxy.add(Fault("busy", path=".tar", times=1000), Fault("busy", path=".tar", method="HEAD", times=1000))
    with pytest.raises(StoreError) as caught:
        list(dataset["train"])
    assert caught.value.code == "unavailable"


def test_what_is_in_the_cache_is_not_fetched_again(copy: InBucket, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    first = everything(copy.url, cache=cache)
    copy.proxy.clear()
    assert everything(copy.url, cache=cache) == first == everything(copy.folder)
    assert copy.proxy.bytes_sent(".tar") == 0


def test_a_cached_block_that_was_damaged_is_fetched_again(copy: InBucket, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    everything(copy.url, cache=str(cache))
    blocks = [path for path in cache.rglob("*") if path.is_file() and path.name != "lock"]
    for number, block in enumerate(blocks):
        data = block.read_bytes()
        block.write_bytes(
            [flipped(data, len(data) // 2, 0), data[:100], b"", flipped(data, len(data) - 1, 7)][number % 4]
        )
    assert everything(copy.url, cache=str(cache)) == everything(copy.folder)


def test_what_came_damaged_does_not_stay_in_the_cache(copy: InBucket, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    copy.proxy.add(Fault("flip", path=SHARD))
    assert everything(copy.url, cache=cache) == everything(copy.folder)
    copy.proxy.clear()
    assert everything(copy.url, cache=cache) == everything(copy.folder)
    copy.proxy.clear()
    everything(copy.url, cache=cache)
    assert copy.proxy.bytes_sent(".tar") == 0


def test_web_servers_are_read_too(nginx: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = make_dataset(tmp_path)
    folder.rename(nginx.root / tmp_path.name)
    assert everything(f"{nginx.endpoint}/{tmp_path.name}") == everything(nginx.root / tmp_path.name)


class Counting(MemoryStore):
    """Counts the bytes that are read from it."""

    read = 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        self.read += len(data)
        return data


@SHORT_LAW
@given(
    size=st.integers(0, 3_500_000),
    ranges=st.lists(
        st.tuples(st.integers(0, 3_600_000), st.none() | st.integers(0, 2_000_000)), min_size=1, max_size=6
    ),
)
def test_a_range_through_the_cache_is_what_a_slice_is(
    size: int, ranges: list[tuple[int, int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = os.urandom(size)
    store = MemoryStore()
    store.put("x", data)
    cache = Caching(remote(store), str(tmp_path_factory.mktemp("cache")), "v", limit_bytes=1 << 30)
    for start, length in ranges * 2:
        assert cache.get("x", start, length) == data[start : None if length is None else start + length]


class Waiting(Counting):
    """The first reader waits inside until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.go_on = threading.Event(), threading.Event()

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if not self.inside.is_set():
            self.inside.set()
            self.go_on.wait(HANG_SECONDS)
        return super().get(key, start, length)


@pytest.mark.parametrize("fails", [False, True])
def test_a_block_that_two_ranges_share_is_fetched_once(tmp_path: Path, fails: bool) -> None:
    data, store = os.urandom(4 << 20), Waiting()
    store.put("x", data)
    cache = Caching(remote(store), str(tmp_path), "v", limit_bytes=1 << 30)
    middle = (2 << 20) - 5000
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "x", 0, middle + 9000)
        assert store.inside.wait(HANG_SECONDS)
        second = pool.submit(cache.get, "x", middle, 1 << 20)
        if fails:
            store.delete("x")
            store.go_on.set()
            assert isinstance(first.exception(), StoreError)
            assert isinstance(second.exception(), StoreError)
        else:
            store.go_on.set()
            assert first.result() == data[: middle + 9000]
            assert second.result() == data[middle : middle + (1 << 20)]
            assert store.read == 3 << 20
    if fails:
        store.put("x", data)
        assert cache.get("x", 0, 4 << 20) == data


def _read_through(folder: str, copy: str, seed: int) -> None:
    """Random ranges of a file, right ones, through a cache that is too small for them."""
    draw, data = random.Random(seed), open_store(copy).get("x")
    cache = Caching(remote(open_store(copy)), folder, "v", limit_bytes=3 << 20)
    for _ in range(60):
        start = draw.randrange(len(data))
        length = draw.randrange(1, 2 << 20)
        assert cache.get("x", start, length) == data[start : start + length]


def test_processes_share_a_cache_that_is_too_small_for_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/x").write_bytes(os.urandom(8 << 20))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        work = [pool.submit(_read_through, str(tmp_path / "cache"), str(tmp_path / "there"), seed) for seed in range(3)]
        for done in work:
            done.result()
    blocks = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != "lock"]
    assert {len(path.name) for path in blocks} == {32}  # nothing half-written is left
    assert sum(path.stat().st_size for path in blocks) <= 6 << 20


def test_a_cache_that_shrinks_removes_only_its_own_blocks(tmp_path: Path) -> None:
    store = Counting()
    theirs = {"aa/thesis.txt", "aa/" + "b" * 32, "notes/" + "a" * 32, "aa/" + "a" * 31, "aa/aa" + "A" * 30, "a" * 32}
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("years of work")
        os.utime(tmp_path / name, (1, 1))
    cache = Caching(remote(store), str(tmp_path), "v", limit_bytes=3 << 20)
    for number in range(12):
        store.put(f"{number}", os.urandom(1 << 20))
        cache.get(f"{number}", 0, 1 << 20)
    blocks = [path for path in tmp_path.glob("??/*") if path.stat().st_size > 1 << 20]
    assert 0 < len(blocks) <= 4
    assert {name for name in theirs if (tmp_path / name).read_text() == "years of work"} == theirs


@pytest.mark.timeout(HANG_SECONDS, method="signal")
def test_a_pipe_in_a_cache_is_not_waited_for(tmp_path: Path) -> None:
    store = Counting()
    os.mkfifo(tmp_path / "lock")
    cache = Caching(remote(store), str(tmp_path), "v", limit_bytes=1 << 20)
    for number in range(4):
        store.put(f"{number}", os.urandom(1 << 20))
        cache.get(f"{number}", 0, 1 << 20)
        for block in tmp_path.glob("??/*"):
            block.unlink()
            os.mkfifo(block)
        assert len(cache.get(f"{number}", 0, 1 << 20)) == 1 << 20


def test_the_cache_keeps_within_its_limit_and_what_was_used_last(tmp_path: Path) -> None:
    store = Counting()
    for number in range(40):
        store.put(f"{number}", os.urandom(1 << 20))
    cache = Caching(remote(store), str(tmp_path), "v", limit_bytes=10 << 20)
    for number in range(40):
        cache.get(f"{number}", 0, 1 << 20)
        for path in tmp_path.rglob("*"):  # as if this had taken a minute
            if path.is_file():
                os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))
        cache.get("0", 0, 1 << 20)  # used all the time
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert kept <= (10 << 20) * 1.1
    store.read = 0
    cache.get("39", 0, 1 << 20)
    cache.get("0", 0, 1 << 20)
    assert store.read == 0
    cache.get("5", 0, 1 << 20)
    assert store.read == 1 << 20


def test_a_cache_that_cannot_be_written_is_no_cache_and_no_error(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put("x", b"123")
    (tmp_path / "file").write_bytes(b"")
    assert Caching(remote(store), str(tmp_path / "file/cache"), "v", limit_bytes=100).get("x", 1, 1) == b"2"


def test_another_version_of_a_dataset_has_other_blocks(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put("x", b"old")
    assert Caching(remote(store), str(tmp_path), "root 1", limit_bytes=1 << 20).get("x") == b"old"
    store.put("x", b"new")
    assert Caching(remote(store), str(tmp_path), "root 2", limit_bytes=1 << 20).get("x") == b"new"


class Far(MemoryStore):
    """A store that takes a known time for everything, on a clock of its own."""

    def __init__(self, latency: float, bandwidth: float) -> None:
        super().__init__()
        self.link, self.now = (latency, bandwidth), 0.0
        self.put("x", bytes(3 << 20))

    def head(self, key: str) -> ObjectInfo:
        self.now += self.link[0]
        return super().head(key)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        self.now += self.link[0] + len(data) / self.link[1]
        return data


@pytest.mark.parametrize(
    ("latency", "bandwidth", "requests", "gap"),
    [
        (0.001, 1e7, 1, 64 << 10),
        (0.001, 2e8, 1, 200_000),
        (0.05, 1e8, 1, 1 << 20),
        (0.02, 1e7, 1, 200_000),
        (0.05, 1e8, 32, 156_250),
        (0.05, 1e8, 1000, 64 << 10),
    ],
)
def test_the_gap_is_what_a_request_costs_in_bytes_within_bounds(
    latency: float, bandwidth: float, requests: int, gap: int
) -> None:
    store = Far(latency, bandwidth)
    link = measure_link(store, "x", requests=requests, clock=lambda: store.now)
    assert link.latency == pytest.approx(latency)
    assert link.bandwidth == pytest.approx(bandwidth)
    assert link.gap_bytes == pytest.approx(gap, abs=1)
