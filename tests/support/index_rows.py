"""Index rows for tests: a strategy for them, the table, and a second, plain implementation of FORMAT.md's digests."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from wdstools.formats.index import build_index

if TYPE_CHECKING:
    import pyarrow as pa

_MEMBER_COLUMNS = ("ext", "offset", "size", "xxh3_64")
_INT32 = st.integers(0, 2**31 - 1)
_INT64 = st.integers(0, 2**63 - 1)
_TEXT = st.text(max_size=8).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text))
_MEMBERS = st.lists(
    st.fixed_dictionaries(
        {
            "ext": st.sampled_from(["jpg", "txt", "cls", "json"]),
            "offset": _INT64,
            "size": _INT64,
            "xxh3_64": st.integers(0, 2**64 - 1),
        }
    ),
    max_size=4,
)


def rows_strategy(*, authenticated: bool = False, max_size: int = 6) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Lists of rows in which everything that may be null sometimes is."""
    row = {
        "split": st.sampled_from(["train", "val"]),
        "key": st.text("abcXYZ019_/%~-", min_size=1, max_size=20),
        "label": st.none() | _TEXT,
        "cls": st.none() | _INT32,
        "offset": st.none() | _INT64,
        "length": st.none() | _INT64,
        "xxh3_128": st.none() | st.binary(min_size=16, max_size=16),
        "sha256": st.binary(min_size=32, max_size=32) if authenticated else st.none(),
        "members": _MEMBERS,
        "width": st.none() | _INT32,
        "height": st.none() | _INT32,
        "format": st.none() | st.sampled_from(["jpg", "png"]),
        "caption": st.none() | _TEXT,
        "source": st.none() | _TEXT,
    }
    return st.lists(st.fixed_dictionaries(row), max_size=max_size)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """The index table of some rows."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else _empty_row()) if name != "members"}
    flat = [member for row in rows for member in row["members"]]
    members: dict[str, list[Any]] = {name: [member[name] for member in flat] for name in _MEMBER_COLUMNS}
    return build_index(columns, {**members, "count": [len(row["members"]) for row in rows]})


def _empty_row() -> tuple[str, ...]:
    plain = ("split", "key", "label", "cls", "offset", "length", "xxh3_128", "sha256")
    return (*plain, "width", "height", "format", "caption", "source")


def reference_rows_digest(rows: list[dict[str, Any]]) -> str:
    """FORMAT.md, "Rows digest", step by step."""
    flat = [member for row in rows for member in row["members"]]
    authenticated = bool(rows) and all(row["sha256"] is not None for row in rows)
    parts = [b"wdsrows1", _u64(len(rows), len(flat), int(authenticated)), _strings([row["key"] for row in rows])]
    parts += [_u64(*(2**64 - 1 if row[name] is None else row[name] for row in rows)) for name in ("offset", "length")]
    parts.append(b"".join(row["xxh3_128"] or bytes(16) for row in rows))
    if authenticated:
        parts.append(b"".join(row["sha256"] for row in rows))
    parts += [_u32(*(len(row["members"]) for row in rows)), _strings([member["ext"] for member in flat])]
    parts += [_u64(*(member[name] for member in flat)) for name in ("offset", "size", "xxh3_64")]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def reference_values_digest(rows: list[dict[str, Any]]) -> str:
    """FORMAT.md, "Values digest", step by step."""
    parts = [b"wdsvals1", _u64(len(rows))]
    for name in ("label", "cls", "width", "height", "format", "caption"):
        values = [row[name] for row in rows]
        parts.append(bytes(value is not None for value in values))
        if name in ("cls", "width", "height"):
            parts.append(struct.pack(f"<{len(rows)}q", *(value or 0 for value in values)))
        else:
            parts.append(_strings([value or "" for value in values]))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _strings(values: list[str]) -> bytes:
    encoded = [value.encode() for value in values]
    return _u32(*map(len, encoded)) + b"".join(encoded)


def _u64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def _u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
