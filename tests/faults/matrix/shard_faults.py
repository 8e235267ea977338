"""Faults inside the bytes of a shard: bits, bytes, blocks, samples."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from tests.faults.matrix.scene import Expected, Fault, about
from tests.support.damaged_dataset import HEADER_FIELDS, flipped

if TYPE_CHECKING:
    from random import Random

    from tests.faults.matrix.scene import Scene

BLOCK = 512
SIZES = (1, 511, 512, 513)
#: Where bytes moved, one sample may be described in many ways.
ANY = "payload header padding trailer truncated"


def _flip(what: str, scene: Scene, draw: Random) -> Expected:
    region = draw.choice(scene.of_kind(what))
    at, bit = draw.randrange(region.start, region.end), draw.randrange(8)
    scene.write(region.path, flipped(scene.read(region.path), at, bit))
    return about(region.path, kind=region.kind, keys={region.key} - {None}, at=at)


def _insert(size: int, scene: Scene, draw: Random) -> Expected:
    region = draw.choice(scene.of_kind("jpg payload"))
    at, data = draw.randrange(region.start, region.end), scene.read(region.path)
    scene.write(region.path, data[:at] + draw.randbytes(size) + data[at:])
    return about(region.path, kind=ANY, keys={region.key})


def _delete(size: int, scene: Scene, draw: Random) -> Expected:
    region = draw.choice(scene.of_kind("jpg payload"))
    at, data = draw.randrange(region.start, region.end), scene.read(region.path)
    scene.write(region.path, data[:at] + data[at + size :])
    touched = scene.keys_in(region.path, at, at + size)
    return about(region.path, kind=ANY, keys={region.key}, may=touched)


def cut(scene: Scene, shard: str, size: int) -> Expected:
    """Cut a shard to so many bytes."""
    data = scene.read(shard)
    scene.write(shard, data[:size])
    lost = next(({key} for key, (_, end) in scene.groups(shard).items() if end > size), set())
    return about(shard, kind="truncated", keys=lost, at=size)


def _cut_at_block(scene: Scene, draw: Random) -> Expected:
    shard = draw.choice(scene.shards)
    return cut(scene, shard, draw.randrange(1, len(scene.read(shard)) // BLOCK) * BLOCK)


def _cut_inside_block(scene: Scene, draw: Random) -> Expected:
    shard = draw.choice(scene.shards)
    return cut(scene, shard, draw.randrange(len(scene.read(shard)) // BLOCK) * BLOCK + draw.randrange(1, BLOCK))


def _cut_end_of_archive(scene: Scene, draw: Random) -> Expected:
    region = draw.choice(scene.of_kind("trailer"))
    return cut(scene, region.path, region.start)


def _empty(scene: Scene, draw: Random) -> Expected:
    return cut(scene, draw.choice(scene.shards), 0)


def _longer(scene: Scene, draw: Random) -> Expected:
    shard = draw.choice(scene.shards)
    data = scene.read(shard)
    scene.write(shard, data + draw.randbytes(draw.randrange(1, 20_000)))
    return about(shard, kind="trailer", at=len(data))


def _overwrite(scene: Scene, shard: str, at: int, new: bytes) -> Expected:
    """Other bytes of the same length; every sample in which a byte changed must be named."""
    data = scene.read(shard)
    scene.write(shard, data[:at] + new + data[at + len(new) :])
    changed = [place for place in range(at, at + len(new)) if data[place] != new[place - at]]
    keys = set().union(*(scene.keys_in(shard, place, place + 1) for place in changed))
    return about(shard, kind="payload header padding trailer", keys=keys, at=changed[0])


def _blocks_with_data(scene: Scene, draw: Random, count: int) -> tuple[str, int]:
    """A shard and the start of ``count`` blocks that are not zero already."""
    shard = draw.choice(scene.shards)
    data = scene.read(shard)
    last = max(end for _, end in scene.groups(shard).values())
    starts = [at for at in range(0, last - count * BLOCK, BLOCK) if any(data[at : at + BLOCK])]
    return shard, draw.choice(starts)


def _zero(count: int, scene: Scene, draw: Random) -> Expected:
    shard, at = _blocks_with_data(scene, draw, count)
    return _overwrite(scene, shard, at, bytes(count * BLOCK))


def _zero_tail(scene: Scene, draw: Random) -> Expected:
    shard, at = _blocks_with_data(scene, draw, 1)
    return _overwrite(scene, shard, at, bytes(len(scene.read(shard)) - at))


def _repeat_block(scene: Scene, draw: Random) -> Expected:
    """A block written over the next one, as a lost write does."""
    shard, at = _blocks_with_data(scene, draw, 2)
    return _overwrite(scene, shard, at + BLOCK, scene.read(shard)[at : at + BLOCK])


def _repeat_block_between(scene: Scene, draw: Random) -> Expected:
    """A block written twice, so that all that follows moves."""
    region = draw.choice([r for r in scene.of_kind("jpg payload") if r.end - r.start > 2 * BLOCK])
    data, at = scene.read(region.path), region.start
    scene.write(region.path, data[: at + BLOCK] + data[at : at + BLOCK] + data[at + BLOCK :])
    return about(region.path, kind=ANY, keys={region.key})


def _header_destroyed(scene: Scene, draw: Random) -> Expected:
    region = draw.choice(scene.of_kind("name"))
    return _overwrite(scene, region.path, region.start, draw.randbytes(BLOCK))


def _payload_exchanged(scene: Scene, draw: Random) -> Expected:
    """Same size, same modification time, another payload: what size and time comparisons never see."""
    region = draw.choice(scene.of_kind("jpg payload"))
    times = os.stat(scene.dataset / region.path)
    expected = _overwrite(scene, region.path, region.start, draw.randbytes(region.end - region.start))
    os.utime(scene.dataset / region.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return expected


def _two_neighbours(scene: Scene, draw: Random) -> tuple[str, list[tuple[str, tuple[int, int]]]]:
    shard = draw.choice([shard for shard in scene.shards if len(scene.groups(shard)) > 2])
    groups = list(scene.groups(shard).items())
    first = draw.randrange(len(groups) - 1)
    return shard, groups[first : first + 2]


def _samples_exchanged(scene: Scene, draw: Random) -> Expected:
    shard, [(one, (start, middle)), (two, (_, end))] = _two_neighbours(scene, draw)
    data = scene.read(shard)
    scene.write(shard, data[:start] + data[middle:end] + data[start:middle] + data[end:])
    return about(shard, kind=ANY, keys={one}, may={two})


def _sample_twice(scene: Scene, draw: Random) -> Expected:
    shard, [(one, (start, end)), (two, _)] = _two_neighbours(scene, draw)
    data = scene.read(shard)
    scene.write(shard, data[:end] + data[start:end] + data[end:])
    return about(shard, kind=ANY, keys={one}, may={two})


def _sample_gone(scene: Scene, draw: Random) -> Expected:
    shard, [(one, (start, end)), (two, _)] = _two_neighbours(scene, draw)
    data = scene.read(shard)
    scene.write(shard, data[:start] + data[end:])
    return about(shard, kind=ANY, keys={one}, may={two})


BITS = "one bit flipped"
BYTES = "bytes inserted or lost"
CUTS = "cut"
BLOCKS = "blocks"
SAMPLES = "samples"

SHARD_FAULTS = [
    *(Fault(f"header field {name}", BITS, partial(_flip, name)) for name in HEADER_FIELDS),
    *(Fault(f"payload of {name}", BITS, partial(_flip, f"{name} payload")) for name in ("jpg", "txt", "cls")),
    Fault("padding", BITS, partial(_flip, "padding")),
    Fault("end of archive", BITS, partial(_flip, "trailer")),
    *(Fault(f"{size} inserted into a payload", BYTES, partial(_insert, size)) for size in SIZES),
    *(Fault(f"{size} lost from a payload", BYTES, partial(_delete, size)) for size in SIZES),
    Fault("bytes behind the end", BYTES, _longer),
    Fault("at a block", CUTS, _cut_at_block),
    Fault("inside a block", CUTS, _cut_inside_block),
    Fault("before the end of archive", CUTS, _cut_end_of_archive),
    Fault("to nothing", CUTS, _empty),
    Fault("a block of zeros", BLOCKS, partial(_zero, 1)),
    Fault("eight blocks of zeros", BLOCKS, partial(_zero, 8)),
    Fault("zeros to the end, same size", BLOCKS, _zero_tail),
    Fault("a block written over the next", BLOCKS, _repeat_block),
    Fault("a block written twice", BLOCKS, _repeat_block_between),
    Fault("a header of random bytes", BLOCKS, _header_destroyed),
    Fault("another payload, same size and time", BLOCKS, _payload_exchanged),
    Fault("two neighbours exchanged", SAMPLES, _samples_exchanged),
    Fault("a sample stored twice", SAMPLES, _sample_twice),
    Fault("a sample gone", SAMPLES, _sample_gone),
]
