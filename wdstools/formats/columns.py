"""Added columns of a dataset: a set of fields in a JSON document, and one row-aligned file per shard (``column_files``).

A set is outside the root digest but bound to it: the document names the root that its rows were made for, and the
length and SHA-256 of each file. It is canonical JSON, one shard per line. Law: ``dumps(loads(b)) == b`` for every ``b``
that ``loads`` accepts.
"""

from __future__ import annotations

import dataclasses
import json
import keyword
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from wdstools.errors import FormatError, UnsupportedVersionError
from wdstools.formats.digest import DIGEST_HEX_DIGITS, sha256_hex
from wdstools.formats.index import SCHEMA
from wdstools.formats.manifest import COLUMNS_FOLDER, is_plain_path, like_index

#: Where files of a set wait in an object store until the list names them; not part of a dataset.
COLUMNS_WAITING = ".wdstools/columns-next/"
#: The newest version of the document that is read.
COLUMNS_VERSION = 1
#: Larger than the document of two and a half million shards.
MAX_SET_BYTES = 1 << 29
#: The longest list of numbers that a sample may have in one field.
MAX_WIDTH = 1 << 16
MAX_FIELDS = 256
#: The scalar types of fields, and their Arrow types; ``float32[512]`` is a list of 512 numbers.
SCALARS = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
}
_LISTED = ("float32", "float64")
#: Names already used in a batch, in a transform's sample, or in an index.
RESERVED = frozenset(
    {
        *SCHEMA.names,
        *("image", "images", "captions", "labels", "keys", "mask", "sources", "damaged", "tokens", "findings"),
    }
)
_NAME_RE = re.compile(r"[a-z0-9_][a-z0-9_-]{0,63}")
_FIELD_RE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_KIND_RE = re.compile(r"(float32|float64)\[([1-9][0-9]{0,4})\]")
_DIGEST_RE = re.compile(f"[0-9a-f]{{{DIGEST_HEX_DIGITS['sha256']}}}")
_MAX_INT = 2**53


def is_set_name(name: str) -> bool:
    """Whether a set may have this name, which becomes that of a file and a folder."""
    return _NAME_RE.fullmatch(name) is not None


def is_field_name(name: str) -> bool:
    """Whether a field may have this name, which conditions use without quotes."""
    return _FIELD_RE.fullmatch(name) is not None and not keyword.iskeyword(name) and name != "len"


@dataclass(frozen=True, slots=True)
class ColumnField:
    """A field of a set; ``kind`` is ``bool``, ``int64``, ``float32``, ``float64``, ``string``, or as ``float32[512]``."""

    name: str
    kind: str

    @property
    def width(self) -> int:
        """The length of a value that is a list; 0 for any other."""
        match = _KIND_RE.fullmatch(self.kind)
        return int(match[2]) if match else 0

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of its values; raises ValueError for an unknown kind."""
        match = _KIND_RE.fullmatch(self.kind)
        if match and int(match[2]) <= MAX_WIDTH:
            return pa.list_(SCALARS[match[1]], int(match[2]))
        if self.kind not in SCALARS:
            raise ValueError(f"not a type of field: {self.kind}")
        return SCALARS[self.kind]


@dataclass(frozen=True, slots=True)
class ColumnShard:
    """The file of one shard: ``path`` is the shard's; ``nulls`` counts, field by field, the rows without a value."""

    path: str
    bytes: int
    sha256: str
    rows: int
    nulls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ColumnSet:
    """Columns added to a dataset under one ``name``, made for the dataset with this ``root``."""

    #: Every item of work that reads them holds the set: see ``executors.shared``.
    travels_once: ClassVar[bool] = True

    name: str
    root: str
    fields: tuple[ColumnField, ...]
    shards: tuple[ColumnShard, ...]
    _by_path: dict[str, ColumnShard] | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    @property
    def path(self) -> str:
        """The path of its document in a dataset."""
        return f"{COLUMNS_FOLDER}{self.name}.json"

    @property
    def samples(self) -> int:
        """The number of rows, which is the dataset's number of samples."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """The total size of its files in bytes."""
        return sum(shard.bytes for shard in self.shards)

    def shard(self, path: str) -> ColumnShard:
        """Its entry for the shard at ``path``; raises KeyError."""
        if self._by_path is None:
            object.__setattr__(self, "_by_path", {shard.path: shard for shard in self.shards})
        assert self._by_path is not None
        return self._by_path[path]

    def field(self, name: str) -> ColumnField:
        """The field of this name; raises KeyError."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def nulls(self, name: str) -> int:
        """How many samples have no value in a field."""
        at = [field.name for field in self.fields].index(name)
        return sum(shard.nulls[at] for shard in self.shards)

    def files(self) -> dict[str, str]:
        """All its files, the document last, with the SHA-256 of each."""
        own = {column_path(self.name, shard.path): shard.sha256 for shard in self.shards}
        return {**own, self.path: sha256_hex(dumps(self))}


def column_path(name: str, shard: str) -> str:
    """The path of a set's file for a shard."""
    return like_index(shard, f"{COLUMNS_FOLDER}{name}/")


def set_path(name: str) -> str:
    """The path of a set's document."""
    return f"{COLUMNS_FOLDER}{name}.json"


def set_of(path: str) -> str:
    """The name of the set that a path belongs to."""
    return path.removeprefix(COLUMNS_FOLDER).partition("/")[0].removesuffix(".json")


def waiting_path(path: str, digest: str) -> str:
    """Where the next version of a set's file waits in an object store, named by its SHA-256."""
    return f"{COLUMNS_WAITING}{set_of(path)}/{digest}"


def is_waiting(name: str, digest: str) -> bool:
    """Whether a waiting file may have this name."""
    return is_set_name(name) and _DIGEST_RE.fullmatch(digest) is not None


def is_column_file(path: str) -> bool:
    """Whether a path may belong to a set, as its document or as its file for a shard."""
    name, _, rest = path.removeprefix(COLUMNS_FOLDER).partition("/")
    if not path.startswith(COLUMNS_FOLDER):
        return False
    if not rest:
        return is_set_name(name.removesuffix(".json")) and name.endswith(".json")
    return is_set_name(name) and rest.endswith(".parquet") and is_plain_path(rest)


def dumps(columns: ColumnSet) -> bytes:
    """The document of a set, in canonical form."""
    head = {
        "fields": [{"name": field.name, "type": field.kind} for field in columns.fields],
        "format": COLUMNS_VERSION,
        "name": columns.name,
        "root": columns.root,
    }
    lines = [
        _json({"bytes": s.bytes, "nulls": list(s.nulls), "path": s.path, "rows": s.rows, "sha256": s.sha256})
        for s in columns.shards
    ]
    shards = ",\n".join(lines)
    return f'{_json(head)[:-1]},"shards":[\n{shards}\n]}}\n'.encode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def loads(data: bytes, *, where: str = "") -> ColumnSet:
    """The set in a document; raises FormatError (``columns-damaged``) or UnsupportedVersionError for a newer format."""
    try:
        document = json.loads(data.decode())
        version = document["format"]
        if type(version) is int and version > COLUMNS_VERSION:
            raise _newer(version, where)
        found = ColumnSet(
            _checked(document["name"], is_set_name(document["name"])),
            _checked(document["root"], _DIGEST_RE.fullmatch(document["root"]) is not None),
            tuple(_field(one) for one in document["fields"]),
            tuple(_shard(one, len(document["fields"])) for one in document["shards"]),
        )
        names = [field.name for field in found.fields]
        paths = [shard.path for shard in found.shards]
        _checked(names, names == sorted(set(names)) and 0 < len(names) <= MAX_FIELDS)
        _checked(paths, len(set(paths)) == len(paths))
        _checked(version, version == COLUMNS_VERSION and dumps(found) == data)
    except UnsupportedVersionError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged(where, "its document is malformed") from None
    return found


def damaged(where: str, why: str, *, expected: str = "", got: str = "", hint: str = "") -> FormatError:
    """The error for added columns that are not as they were written."""
    return FormatError(
        f"added columns cannot be used: {why}",
        code="columns-damaged",
        where=where,
        expected=expected,
        got=got,
        hint=hint,
    )


def _newer(version: int, where: str) -> UnsupportedVersionError:
    return UnsupportedVersionError(
        "these columns have a newer format version",
        where=where,
        expected=f"at most {COLUMNS_VERSION}",
        got=str(version),
        hint="upgrade wdstools",
    )


def _checked(value: Any, good: bool) -> Any:
    if not good:
        raise ValueError(value)
    return value


def _field(found: Any) -> ColumnField:
    field = ColumnField(found["name"], found["type"])
    _checked(field.name, is_field_name(field.name) and field.name not in RESERVED)
    _checked(field.arrow, len(found) == 2)
    return field


def _shard(found: Any, fields: int) -> ColumnShard:
    numbers = [found["bytes"], found["rows"], *found["nulls"]]
    good = all(type(number) is int and 0 <= number < _MAX_INT for number in numbers)
    good = good and len(found["nulls"]) == fields and all(number <= found["rows"] for number in found["nulls"])
    path = _checked(found["path"], good and is_plain_path(found["path"]))
    digest = _checked(found["sha256"], _DIGEST_RE.fullmatch(found["sha256"]) is not None)
    return ColumnShard(path, found["bytes"], digest, found["rows"], tuple(found["nulls"]))
