"""The file format of a joined index: a head, fixed columns of all rows, each shard's texts, and tables at the end.

| part | what |
|---|---|
| head, 4,096 bytes | ``HEAD``: magic, version, sizes, root, and an XXH3-64 of itself and of the tables |
| places | one record per row: the places of its group and its members, with their digests, and of its key |
| value columns | label, cls, width, height, format, and the place of the caption; each as one array |
| texts | for each shard, in any order: members that do not fit the records, keys, captions |
| tables | one ``SHARD`` for each shard, then JSON: the names for the numbers of labels, formats and extensions |

Integers are little-endian. It is a cache: another version of this layout has another file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.formats.index import SCHEMA, VALUE_COLUMNS

if TYPE_CHECKING:
    from wdstools.dataset import Dataset

#: Goes up whenever the format changes.
VERSION = 1
MAGIC = b"wdsjoin\0"
HEAD_BYTES = 4096
#: Stands for a missing width, height or class.
NULL = -(2**31)
#: Texts are aligned to this.
ALIGNED = 64

HEAD = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u8"),
        ("root", "<u8", (4,)),
        ("rows", "<u8"),
        ("shards", "<u8"),
        ("members", "<u8"),
        ("inline", "<u8"),
        ("authenticated", "<u8"),
        ("bytes", "<u8"),
        ("tables", "<u8"),
        ("names", "<u8"),
        ("tables_digest", "<u8"),
        ("digest", "<u8"),
    ]
)
#: A member in a record; offsets count from the start of the shard.
MEMBER = np.dtype([("offset", "<i8"), ("size", "<i8"), ("xxh3_64", "<u8")])
#: A member of a row that does not have exactly the dataset's members; ``ext`` is the number of a name.
LOOSE_MEMBER = np.dtype([("ext", "<i8"), ("offset", "<i8"), ("size", "<i8"), ("xxh3_64", "<u8")])
#: The place of a shard's texts, and the digests of its part of the file. ``loose`` counts members, ``keys`` and ``captions`` bytes.
SHARD = np.dtype(
    [
        ("at", "<u8"),
        ("loose", "<u8"),
        ("keys", "<u8"),
        ("captions", "<u8"),
        ("places_digest", "<u8"),
        ("values_digest", "<u8"),
        ("captions_digest", "<u8"),
    ]
)
#: Name and type of the value columns. ``caption_size`` and numbers of names are -1 if there is none.
VALUES = {name: "<i4" for name in VALUE_COLUMNS if name != "caption"}
#: The value columns that are integers in an index too.
NUMBERS = tuple(name for name in VALUES if pa.types.is_integer(SCHEMA.field(name).type))
#: The value columns that are texts in an index, and numbers of a name here.
NAMED = ("label", "format")
if _unfilled := VALUES.keys() - {*NUMBERS, *NAMED}:
    raise TypeError(f"the joined index would leave these columns unfilled: {', '.join(sorted(_unfilled))}")
CAPTIONS = {"caption_start": "<u4", "caption_size": "<i4"}


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one dataset's file. ``inline``: every row has exactly the members ``members``, in this order."""

    rows: int
    shards: int
    members: int
    inline: bool
    authenticated: bool

    @classmethod
    def of(cls, dataset: Dataset, *, inline: bool | None = None) -> Layout:
        """The layout for a dataset; whether its members fit the records shows when indexes are read."""
        manifest = dataset.manifest
        totals = manifest.totals
        fits = manifest.profile == "canonical" if inline is None else inline
        return cls(totals["samples"], totals["shards"], len(manifest.members), fits, manifest.authenticated_ranges)

    @property
    def place(self) -> np.dtype[Any]:
        """The type of a record of ``places``; ``start`` and ``length`` are -1 if the row has no record group."""
        members: list[Any] = (
            [("members", MEMBER, (self.members,))] if self.inline else [("loose", "<u4"), ("loose_count", "<u4")]
        )
        proof: list[Any] = [("sha256", "<u8", (4,))] if self.authenticated else []
        return np.dtype(
            [
                ("start", "<i8"),
                ("length", "<i8"),
                ("key_start", "<u4"),
                ("key_size", "<u4"),
                ("xxh3_128", "<u8", (2,)),
                *proof,
                *members,
            ]
        )

    @property
    def columns(self) -> dict[str, tuple[np.dtype[Any], int]]:
        """The type of each fixed column, and where it begins in the file."""
        found: dict[str, tuple[np.dtype[Any], int]] = {}
        at = HEAD_BYTES
        kinds = {"places": self.place, **{name: np.dtype(kind) for name, kind in {**VALUES, **CAPTIONS}.items()}}
        for name, kind in kinds.items():
            found[name] = kind, at
            at = aligned(at + kind.itemsize * self.rows)
        return found

    @property
    def fixed_bytes(self) -> int:
        """Where the texts begin."""
        kind, at = self.columns["caption_size"]
        return aligned(at + kind.itemsize * self.rows)


def aligned(size: int) -> int:
    """The next multiple of ALIGNED."""
    return -(-size // ALIGNED) * ALIGNED


def head_of(layout: Layout, root: str, tables_at: int, tables: bytes, names: int) -> bytes:
    """The head of a finished file; ``tables`` are its last bytes, of which the last ``names`` are JSON."""
    head = np.zeros(1, HEAD)
    head["magic"], head["version"], head["root"] = MAGIC, VERSION, np.frombuffer(bytes.fromhex(root), "<u8")
    for name in ("rows", "shards", "members", "inline", "authenticated"):
        head[name] = getattr(layout, name)
    head["bytes"], head["tables"], head["names"] = tables_at + len(tables), tables_at, names
    head["tables_digest"] = xxh3_64_intdigest(tables)
    head["digest"] = xxh3_64_intdigest(head.tobytes()[:-8])
    return head.tobytes().ljust(HEAD_BYTES, b"\0")


def read_head(data: bytes, layouts: tuple[Layout, ...], root: str, size: int) -> tuple[Layout, int, int] | None:
    """Which of ``layouts`` a file of ``size`` bytes has, where its tables begin, and their digest; None if none fits."""
    if len(data) < HEAD.itemsize:
        return None
    head = np.frombuffer(data[: HEAD.itemsize], HEAD)[0]
    if (
        int(head["digest"]) != xxh3_64_intdigest(data[: HEAD.itemsize - 8])
        or bytes(head["magic"]) != MAGIC.rstrip(b"\0")
        or int(head["version"]) != VERSION
        or head["root"].tobytes().hex() != root
        or int(head["bytes"]) != size
    ):
        return None
    rows, shards, members = (int(head[name]) for name in ("rows", "shards", "members"))
    found = Layout(rows, shards, members, bool(head["inline"]), bool(head["authenticated"]))
    tables, names = int(head["tables"]), int(head["names"])
    fits = layouts and found in layouts and found.fixed_bytes <= tables
    if not fits or tables + found.shards * SHARD.itemsize + names != size:
        return None
    return found, tables, int(head["tables_digest"])
