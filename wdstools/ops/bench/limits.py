"""How fast memory, storage, hashing and decoding are on their own, on this machine and for these samples."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import TYPE_CHECKING, Any

from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.ops.bench.clock import Tally, run_for
from wdstools.stores.cold import cold_blocks
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

_COPY_BYTES = 1 << 26
_READ_BYTES = 1 << 20
_REMOTE_BYTES = 1 << 23
_HASHED_AT_ONCE = 64


def copy_memory(seconds: float) -> Tally:
    """Bytes copied by one thread, between two buffers too large for any cache."""
    import numpy as np

    source, target = np.ones(_COPY_BYTES, np.uint8), np.empty(_COPY_BYTES, np.uint8)
    np.copyto(target, source)  # touching new memory for the first time takes longer than copying

    def steps() -> Iterator[float]:
        while True:
            np.copyto(target, source)
            yield _COPY_BYTES

    return run_for(seconds, steps())


def read_cold(dataset: Dataset, shards: Sequence[ShardEntry], seconds: float) -> Tally:
    """Bytes read from storage as if for the first time: shard by shard, each once."""
    store = dataset.shards
    if isinstance(store, LocalStore):
        return run_for(seconds, (float(count) for entry in shards for count in cold_blocks(store, entry.path)))
    return run_for(seconds, _ranges(dataset, shards))


def _ranges(dataset: Dataset, shards: Sequence[ShardEntry]) -> Iterator[float]:
    for entry in shards:
        for start in range(0, entry.bytes, _REMOTE_BYTES):
            yield len(dataset.shards.get(entry.path, start, min(_REMOTE_BYTES, entry.bytes - start)))


def read_warm(store: LocalStore, shards: Sequence[ShardEntry], seconds: float) -> Tally:
    """Bytes read repeatedly from the page cache, from as many shards as can be read in a tenth of the time."""
    warm = list(shards[:1])
    for entry in shards[1:]:
        if run_for(seconds / 10, _cached(store, warm)).seconds < seconds / 10:
            warm.append(entry)
    return run_for(seconds, (count for _ in iter(int, 1) for count in _cached(store, warm)))


def _cached(store: LocalStore, shards: Sequence[ShardEntry]) -> Iterator[float]:
    return (float(len(block)) for entry in shards for block in store.blocks(entry.path, _READ_BYTES))


def hash_payloads(payloads: Sequence[bytes], seconds: float) -> Tally:
    """Payloads hashed by one thread, as the reader hashes them."""

    def steps() -> Iterator[float]:
        while True:
            for start in range(0, len(payloads), _HASHED_AT_ONCE):
                some = payloads[start : start + _HASHED_AT_ONCE]
                for payload in some:
                    xxh3_64_intdigest(payload)
                yield len(some)

    return run_for(seconds, steps())


def decode_images(images: Sequence[bytes], image_type: str, threads: int, seconds: float) -> Tally:
    """Images decoded to RGB in tight loops, one per thread, each reusing its own memory."""
    return work_on(images, lambda: decoder_for(image_type), threads, seconds)


def work_on(
    images: Sequence[bytes], make: Callable[[], Callable[[bytes | memoryview], Any]], threads: int, seconds: float
) -> Tally:
    """Work done on images in tight loops, one per thread; ``make`` makes the function that a thread calls."""

    def loop(part: int) -> int:
        decode = make()
        until = time.perf_counter() + seconds
        for done, image in enumerate(cycle(images[part::threads] or images), 1):
            decode(image)
            if time.perf_counter() >= until:
                return done
        raise AssertionError

    cpu, start = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(loop, range(threads)))
    return Tally(done, time.perf_counter() - start, time.process_time() - cpu)


def decoder_for(image_type: str) -> Callable[[bytes | memoryview], Any]:
    """The fastest decoder to RGB for one thread: simplejpeg into reused memory for JPEG, Pillow for other types."""
    import numpy as np

    from wdstools.images.check import open_image

    if image_type not in ("jpg", "jpeg"):
        return lambda image: open_image(image).convert("RGB")
    import simplejpeg

    memory = np.empty(0, np.uint8)

    def decode(image: bytes | memoryview) -> Any:
        nonlocal memory
        height, width, _, _ = simplejpeg.decode_jpeg_header(image)
        if memory.size < height * width * 3:
            memory = np.empty(height * width * 3, np.uint8)
        return simplejpeg.decode_jpeg(image, buffer=memory[: height * width * 3])

    return decode
