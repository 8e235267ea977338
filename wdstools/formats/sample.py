"""Keys, member names and the order of samples: everything that decides where a sample goes.

Laws (each is a property test):

- ``make_key`` is injective: different ids never get the same key (except for a 128-bit digest collision).
- ``unescape_key(make_key(id)) == id`` for every id whose key was not shortened.
- ``split_member_name(member_name(key, ext)) == (key, ext)``, which is also how webdataset splits names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.formats.digest import xxh3_64_intdigest, xxh3_128_hexdigest
from wdstools.formats.image_types import STORABLE_TYPES
from wdstools.formats.tar import NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Members of a sample, in tar order; a dataset has one of the image types and any of the others.
MEMBER_ORDER = (*STORABLE_TYPES, "txt", "cls", "json")
#: The longest key if no extension has more than four letters: a member name is the key, a dot and the extension.
KEY_BYTES = NAME_BYTES - len(".json")
#: The longest extension of a further member.
EXTENSION_BYTES = 32

_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/-"
_DIGEST_MARK = b"~"
_DIGEST_DIGITS = 32
_ESCAPE = {byte: b"%%%02X" % byte for byte in range(256) if byte not in _SAFE}
_UNSAFE_RE = re.compile(rb"[^A-Za-z0-9_/-]")
_ESCAPED_RE = re.compile(rb"%([0-9A-F]{2})")
_KEY_RE = re.compile(rb"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+(?:/(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+)*(?:~[0-9a-f]{32})?")
_EXTENSION_RE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
_MEMBER_NAME_RE = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")


def is_further_member(extension: str) -> bool:
    """Whether a member beyond MEMBER_ORDER may have this extension (format 2); further images have dotted ones."""
    return (
        extension not in MEMBER_ORDER
        and len(extension) <= EXTENSION_BYTES
        and not extension.startswith("__")
        and _EXTENSION_RE.fullmatch(extension) is not None
    )


def image_member(members: Sequence[str]) -> str:
    """The member that is the image of a sample, which comes first; "" in a dataset without images."""
    return members[0] if members and members[0] in STORABLE_TYPES else ""


def member_order(members: Iterable[str]) -> tuple[str, ...]:
    """Members in tar order: image, ``txt``, ``cls``, ``json``, then the others by their bytes."""
    given = set(members)
    return (*(m for m in MEMBER_ORDER if m in given), *sorted(given.difference(MEMBER_ORDER), key=str.encode))


def key_bytes(members: Iterable[str]) -> int:
    """The longest key in a dataset with these members, so that the longest member name fits the name field."""
    return NAME_BYTES - 1 - max((4, *map(len, members)))


def fit_key(key: bytes, limit: int) -> bytes:
    """A key, shortened if it is longer than ``limit`` bytes."""
    return _shorten(key, limit) if len(key) > limit else key


def make_key(label: str | None, sample_id: bytes, limit: int = KEY_BYTES) -> bytes:
    """The key of a sample: ``label/id``, or ``id`` without a label, escaped and bounded.

    Bytes outside ``[A-Za-z0-9_/-]`` become ``%XX``, because the first dot of a base name ends the key for every reader.
    A key of more than ``limit`` bytes keeps its head; the tail becomes ``~`` and the 32 hex digits of its XXH3-128.
    Raises FormatError (``key-invalid``) for an empty id or an empty path component.
    """
    plain = sample_id if label is None else label.encode("utf-8") + b"/" + sample_id
    key = plain if not plain.translate(None, _SAFE) else _UNSAFE_RE.sub(lambda m: _ESCAPE[m[0][0]], plain)
    if not key or key[0] == 0x2F or key[-1] == 0x2F or b"//" in key:
        raise FormatError("an id has an empty path component", code="key-invalid", got=repr(plain))
    return fit_key(key, limit)


def plain_keys(labels: Sequence[str | None], ids: Sequence[str], limit: int = KEY_BYTES) -> list[bytes] | None:
    """What ``make_key`` returns for many ids, at once, if none of them needs escaping or shortening; else None."""
    lines = "\n".join(
        sample_id if label is None else f"{label}/{sample_id}" for label, sample_id in zip(labels, ids, strict=True)
    ).encode()
    keys = lines.split(b"\n")
    framed = b"\n%b\n" % lines
    plain = len(keys) == len(ids) and not lines.translate(None, _SAFE + b"\n")
    whole = not any(empty in framed for empty in (b"\n\n", b"\n/", b"/\n", b"//"))
    return keys if plain and whole and max(map(len, keys)) <= limit else None


def _shorten(key: bytes, limit: int) -> bytes:
    cut = limit - len(_DIGEST_MARK) - _DIGEST_DIGITS
    while b"%" in key[cut - 2 : cut] or key[cut - 1 : cut] == b"/":  # never inside an escape, never an empty tail name
        cut -= 1
    return key[:cut] + _DIGEST_MARK + xxh3_128_hexdigest(key[cut:]).encode()


def is_key(key: bytes) -> bool:
    """Whether ``make_key`` can return ``key`` (with the default limit)."""
    return len(key) <= KEY_BYTES and _KEY_RE.fullmatch(key) is not None


def is_shortened(key: bytes) -> bool:
    """Whether the tail of ``key`` is a digest, so that the id cannot be read back from it."""
    return _DIGEST_MARK in key


def unescape_key(key: bytes) -> bytes:
    """The ``label/id`` (or ``id``) that a key was made from; only for keys that were not shortened."""
    return _ESCAPED_RE.sub(lambda m: bytes([int(m[1], 16)]), key)


def member_name(key: str, extension: str) -> str:
    """The name of a member in the tar."""
    return f"{key}.{extension}"


def split_member_name(name: str) -> tuple[str, str] | None:
    """Split a member's name into key and extension at the first dot of its base name; None if it has none.

    This is webdataset's own rule, and that of every reader we know.
    """
    match = _MEMBER_NAME_RE.match(name)
    return (match[1], match[2]) if match else None


def order_hash(key: bytes, seed: int) -> int:
    """The 64-bit hash that decides a sample's shard and its place there: XXH3-64 of the key with the seed."""
    return xxh3_64_intdigest(key, seed)


def split_hash(key: bytes, seed: int) -> int:
    """The 64-bit hash that decides a sample's split if splits are made by ratio.

    It is not ``order_hash``: otherwise a split would be a range of it, and all its samples would fall into a few
    shards.
    """
    return xxh3_64_intdigest(b"split:" + key, seed)


def shard_of(order: int, shards: int) -> int:
    """Which of ``shards`` shards holds the sample with this order hash: floor(order * shards / 2**64)."""
    return order * shards >> 64
