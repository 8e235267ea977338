"""Two forgers, who know the format and nothing of the package: what only SHA-256 finds.

One changes pixels and keeps every XXH3 of groups and shards. The other leaves the shards alone, rewrites labels, captions and
sizes in the indexes, and makes the checksum list agree.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The secret of XXH3 (its specification, "kSecret"), as little-endian words of 64 bits.
_SECRET = struct.unpack(
    "<24Q",
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
        "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
)
_BLOCK, _LANES, _STRIPES = 1024, 8, 16
_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
#: Words of a lane that are solved for; the others, from the sixth stripe on, hold whatever the forger likes.
_SOLVED = 5
MESSAGE_BYTES = (_STRIPES - _SOLVED) * _LANES * 8


def _product(word: int, key: int) -> int:
    mixed = word ^ key
    return (mixed & _MASK32) * (mixed >> 32)


def forge_block(block: bytes, message: bytes) -> bytes:
    """Other 1,024 bytes that leave an XXH3 as it is, if they begin at a multiple of 1,024 of what is hashed and are not its end.

    Of such a block XXH3 keeps, for each of eight lanes, two numbers modulo 2**64: the sum of the lane's sixteen words, and
    the sum of their products, lower half times upper half of the word under its key. ``message`` fills eleven of the words.
    """
    old = struct.unpack("<128Q", block)
    new = [0] * (_SOLVED * _LANES)
    new += struct.unpack(f"<{MESSAGE_BYTES // 8}Q", message.ljust(MESSAGE_BYTES, b".")[:MESSAGE_BYTES])
    for lane in range(_LANES):
        keys = _SECRET[lane : lane + _STRIPES]
        chosen = new[_SOLVED * _LANES + lane :: _LANES]
        products = sum(map(_product, old[lane::_LANES], keys)) - sum(map(_product, chosen, keys[_SOLVED:]))
        words = sum(old[lane::_LANES]) - sum(chosen)
        # three words whose upper halves, under their keys, are 2**31, 2**31 and 1 make any sum of products
        high, low = divmod(products & _MASK64, 1 << 31)
        if high > 2 * _MASK32:
            high, low = high - 1, low + (1 << 31)
        first = min(high, _MASK32)
        solved = [(1 << 63 | first) ^ keys[0], (1 << 63 | high - first) ^ keys[1], (1 << 32 | low) ^ keys[2]]
        # two words, one of whose halves is its key's, have no product, and make any sum of words
        rest = (words - sum(solved)) & _MASK64
        lower = (keys[3] >> 32 << 32) | ((rest - (keys[4] & _MASK32)) & _MASK32)
        solved += [lower, (rest - lower) & _MASK64]
        new[lane : _SOLVED * _LANES : _LANES] = solved
    return struct.pack("<128Q", *new)


def forge_samples(dataset: Path, split: str = "train") -> list[str]:
    """Change images in the shards of a split, every XXH3-128 kept; gives the keys of those that are forged: not the first ones."""
    keys = []
    for shard in sorted((dataset / split).glob("*.tar")):
        data = bytearray(shard.read_bytes())
        with tarfile.open(shard) as tar:
            members = [(member.name, member.offset, member.size) for member in tar if member.name.endswith(".jpg")]
        for name, start, size in members[1:]:
            # in the shard and in the sample's group alike, which begins at this header
            if start % _BLOCK == 0 and size > 4 * _BLOCK:
                at = start + 2 * _BLOCK
                data[at : at + _BLOCK] = forge_block(bytes(data[at : at + _BLOCK]), b"NOT WHAT WAS PACKED ")
                keys.append(name.rpartition(".")[0])
        shard.chmod(0o644)
        shard.write_bytes(data)
    return keys


def forge_values(dataset: Path, change: Mapping[str, Any]) -> None:
    """Rewrite columns of every index: ``change`` maps a column to a function of its list of values."""
    for path in sorted((dataset / ".wdstools/index").glob("*.parquet")):
        table = pq.ParquetFile(path).read()
        for name, function in change.items():
            at = table.schema.get_field_index(name)
            values = pa.array(function(table.column(name).to_pylist()), table.schema.field(at).type)
            table = table.set_column(at, table.schema.field(at), values)
        path.chmod(0o644)
        pq.write_table(table, path)
    refresh_sums(dataset)


def without_values(dataset: Path) -> str:
    """Make the manifest one of an older writer, which has no digest of values; gives its root digest."""
    path = dataset / ".wdstools/manifest.json"
    data = re.sub(rb',"values":"[0-9a-f]{64}"', b"", path.read_bytes())
    old, new = (hashlib.sha256(text).hexdigest() for text in (path.read_bytes(), data))
    path.chmod(0o644)
    path.write_bytes(data)
    card = dataset / "README.md"
    card.write_text(card.read_text().replace(old, new))
    refresh_sums(dataset)
    return new


def refresh_sums(dataset: Path) -> None:
    """Make the checksum list agree with what lies there."""
    path = dataset / "SHA256SUMS"
    names = [line.split("  ", 1)[1] for line in path.read_text().splitlines()]
    lines = [f"{hashlib.sha256((dataset / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    path.chmod(0o644)
    path.write_text("".join(lines))
