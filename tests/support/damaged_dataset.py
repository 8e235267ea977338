"""A dataset to damage and repair, and where everything in it is, according to the standard library's tarfile."""

from __future__ import annotations

import random
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.city_pairs import write_city_pairs
from wdstools.executors.local import Serial
from wdstools.formats.card import CARD_PATH
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sums import SUMS_PATH
from wdstools.ops.pack import run_pack
from wdstools.planning.options import make_options
from wdstools.sources.folder import FolderSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.results import Finding

#: Where each field of a ustar header is (POSIX.1-1988).
HEADER_FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "chksum": (148, 156),
    "typeflag": (156, 157),
    "linkname": (157, 257),
    "magic": (257, 263),
    "version": (263, 265),
    "uname": (265, 297),
    "gname": (297, 329),
    "devmajor": (329, 337),
    "devminor": (337, 345),
    "prefix": (345, 500),
    "unused end": (500, 512),
}


@dataclass(frozen=True)
class Region:
    """A part of a file; ``kind`` is the kind that a finding about it must have."""

    kind: str
    what: str
    path: str
    start: int
    end: int
    key: str | None = None
    member: str | None = None


def make_dataset(folder: Path, *, train: int = 14, val: int = 4, shard_samples: int = 5) -> Path:
    """Pack a few samples into several shards of two splits, with one skipped, so that every file of the format is there."""
    source = write_city_pairs(folder / "source", train=train, val=val, damaged=True)
    options = make_options(shard_samples=shard_samples, name="damaged pairs")
    run_pack(FolderSource(str(source)), str(folder / "dataset"), options, executor=Serial())
    return folder / "dataset"


def shards_of(dataset: Path) -> list[str]:
    """Paths of the shards."""
    return sorted(str(path.relative_to(dataset)) for path in dataset.glob("*/*.tar"))


def shard_regions(dataset: Path, shard: str) -> list[Region]:
    """Every header field, payload, padding and the trailer of a shard."""
    regions = []
    end = 0
    with tarfile.open(dataset / shard) as tar:
        for member in tar:
            key, _, extension = member.name.rpartition(".")
            at, payload = member.offset, member.offset_data
            for name, (first, last) in HEADER_FIELDS.items():
                regions.append(Region("header", name, shard, at + first, at + last, key, extension))
            stop = payload + member.size
            end = payload + -(-member.size // 512) * 512
            regions.append(Region("payload", f"{extension} payload", shard, payload, stop, key, extension))
            regions.append(Region("padding", "padding", shard, stop, end, key, extension))
    regions.append(Region("trailer", "trailer", shard, end, (dataset / shard).stat().st_size))
    return [region for region in regions if region.end > region.start]


def other_regions(dataset: Path) -> list[Region]:
    """Every file other than the shards; of the card only the parts that are checked."""
    regions = [
        Region("index", "index", str(path.relative_to(dataset)), 0, path.stat().st_size)
        for path in sorted((dataset / ".wdstools/index").iterdir())
    ]
    for kind, name in (
        ("manifest", MANIFEST_PATH),
        ("provenance", ".wdstools/provenance.json"),
        ("skipped", ".wdstools/skipped.jsonl"),
        ("sums", SUMS_PATH),
    ):
        regions.append(Region(kind, kind, name, 0, (dataset / name).stat().st_size))
    card = (dataset / CARD_PATH).read_bytes()
    configs = card.index(b"configs:"), card.index(b"\n---\n", 4)
    block = card.index(b"<!-- wdstools:begin"), card.index(b"wdstools:end -->")
    regions += [Region("card", "card", CARD_PATH, *span) for span in (configs, block)]
    return regions


def draws(regions: list[Region], count: int, seed: int) -> Iterator[tuple[Region, int, int]]:
    """Single bits to flip, as many of each kind of region: (region, byte, bit)."""
    draw = random.Random(seed)
    kinds = sorted({region.what for region in regions})
    for number in range(count):
        what = kinds[number % len(kinds)]
        region = draw.choice([region for region in regions if region.what == what])
        yield region, draw.randrange(region.start, region.end), draw.randrange(8)


class Damage:
    """Changes files for the duration of the ``with`` block; afterwards they are restored."""

    def __init__(self, dataset: Path, changed: dict[str, bytes]) -> None:
        self._old = {dataset / name: (dataset / name).read_bytes() for name in changed}
        self._new = {dataset / name: data for name, data in changed.items()}

    def __enter__(self) -> None:
        for path, data in self._new.items():
            path.write_bytes(data)

    def __exit__(self, *_: object) -> None:
        for path, data in self._old.items():
            path.write_bytes(data)


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """The bytes with one bit changed."""
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def covers(finding: Finding, at: int) -> bool:
    """Whether a byte lies within the bounds of a finding."""
    return finding.start is not None and finding.start <= at < finding.start + (finding.length or 0)
