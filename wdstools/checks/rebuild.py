"""Rebuild a shard's index from the shard alone: the proof of an index, and its repair."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.checks.stream import StreamResult, check_stream
from wdstools.errors import IntegrityError
from wdstools.formats.arrow import to_list
from wdstools.formats.digest import xxh3_64_intdigest, xxh3_128
from wdstools.formats.image_types import STORABLE_TYPES
from wdstools.formats.index import SCHEMA, build_index, unlike
from wdstools.formats.tar import BLOCK, NAME_BYTES, padding, render_header
from wdstools.images.check import DEFAULT_MAX_PIXELS, DamagedImageError, ImageInfo
from wdstools.images.whole import ImageChecker, trailing_refusal
from wdstools.results import Finding
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

_MAX_CLS_DIGITS = 10
_ANY_PIXELS = 2**31 - 1
#: The columns that can be rebuilt from a shard: all but ``source``.
REBUILT_COLUMNS = tuple(name for name in SCHEMA.names if name != "source")


@dataclass(slots=True)
class Rebuilt:
    """An index made from a shard, and what was wrong with it; ``trailing`` are images with bytes after their end."""

    table: pa.Table
    stream: StreamResult
    findings: list[Finding] = field(default_factory=list)
    trailing: list[Finding] = field(default_factory=list)


def rebuild_index(
    blocks: Iterable[bytes | memoryview],
    *,
    path: str,
    split: str,
    labels: tuple[str, ...],
    authenticated: bool,
    level: str = "header",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Rebuilt:
    """Read a canonical shard and make its index; ``level="decode"`` also decodes every image, strictly.

    All columns but ``source`` (null) are as packing wrote them. Damage is in ``stream.findings``, damaged images in
    ``findings``; those in ``trailing`` are damage only in a dataset of format 1.
    """
    # headers are read whatever size they state; only decoding needs a limit
    checker = ImageChecker(level, max_pixels if level == "decode" else _ANY_PIXELS)
    rows = _Rows(path, split, labels, checker, authenticated=authenticated)
    stream = check_stream(blocks, path, rows.add)
    return Rebuilt(rows.table(), stream, rows.findings, rows.trailing)


def proved_index(dataset: Dataset, split: str, entry: ShardEntry) -> pa.Table:
    """A shard's index with values proved by the shard's bytes, all of which are read and match the manifest's SHA-256.

    For manifests without ``values``. ``source`` is taken from the stored index, unproved.
    Raises IntegrityError (``shard-damaged``).
    """
    digest = hashlib.sha256()

    def hashed() -> Iterator[memoryview]:
        for block in read_blocks(dataset.shards, entry.path, entry.bytes):
            digest.update(block)
            yield block

    blocks = hashed()
    authenticated = dataset.manifest.authenticated_ranges
    labels = dataset.manifest.labels
    table = rebuild_index(blocks, path=entry.path, split=split, labels=labels, authenticated=authenticated).table
    for _ in blocks:  # what follows the end of the archive
        pass
    if digest.hexdigest() != entry.sha256 or unlike(table, entry) is not None:
        raise IntegrityError(
            "a shard does not match the manifest",
            code="shard-damaged",
            where=f"{dataset.shards.url}/{entry.path}",
            expected=f"sha256 {entry.sha256}",
            got=f"sha256 {digest.hexdigest()}",
            hint=dataset.verify_command,
        )
    source = dataset.index(entry).column("source")
    return table.set_column(table.schema.get_field_index("source"), table.schema.field("source"), source)


class _Rows:
    def __init__(
        self, path: str, split: str, labels: tuple[str, ...], checker: ImageChecker, *, authenticated: bool
    ) -> None:
        self.findings: list[Finding] = []
        self.trailing: list[Finding] = []
        self._path = path
        self._split = split
        self._labels = labels
        self._checker = checker
        apart = {"row", "members"} if authenticated else {"row", "members", "sha256"}
        self._columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names if name not in apart}
        self._members: dict[str, list[Any]] = {name: [] for name in ("ext", "offset", "size", "xxh3_64", "count")}
        self._group = xxh3_128()
        self._authenticated = authenticated
        self._group_sha256 = hashlib.sha256()
        self._key: str | None = None

    def add(self, key: str, extension: str, offset: int, payload: bytes) -> None:
        """Add the next member of the shard."""
        if key != self._key:
            self._close()
            self._open(key, offset - BLOCK)
        digest = xxh3_64_intdigest(payload)
        full_name = f"{key}.{extension}".encode()
        header = render_header(full_name, len(payload), digest) if len(full_name) <= NAME_BYTES else bytes(BLOCK)
        for part in (header, payload, bytes(padding(len(payload)))):
            self._group.update(part)
            if self._authenticated:
                self._group_sha256.update(part)
        for name, value in (("ext", extension), ("offset", offset), ("size", len(payload)), ("xxh3_64", digest)):
            self._members[name].append(value)
        self._members["count"][-1] += 1
        self._columns["length"][-1] = offset + len(payload) + padding(len(payload)) - self._columns["offset"][-1]
        self._describe(key, extension, offset, payload)

    def _open(self, key: str, start: int) -> None:
        self._key = key
        self._group.reset()
        self._group_sha256 = hashlib.sha256()
        for values in self._columns.values():
            values.append(None)
        self._columns["split"][-1] = self._split
        self._columns["key"][-1] = key
        self._columns["offset"][-1] = start
        self._members["count"].append(0)

    def _close(self) -> None:
        if self._key is not None:
            self._columns["xxh3_128"][-1] = self._group.digest()
        if self._key is not None and self._authenticated:
            self._columns["sha256"][-1] = self._group_sha256.digest()

    def _describe(self, key: str, extension: str, offset: int, payload: bytes) -> None:
        columns = self._columns
        if extension == "txt":
            columns["caption"][-1] = payload.decode("utf-8", "replace")
        elif extension == "cls" and payload.isdigit() and len(payload) < _MAX_CLS_DIGITS:
            columns["cls"][-1] = number = int(payload)
            columns["label"][-1] = self._labels[number] if number < len(self._labels) else None
        elif extension in STORABLE_TYPES:
            info = self._image(key, extension, offset, payload)
            if info is not None:
                columns["width"][-1], columns["height"][-1], columns["format"][-1] = info.width, info.height, info.type

    def _image(self, key: str, extension: str, offset: int, payload: bytes) -> ImageInfo | None:
        def finding(refusal: DamagedImageError) -> Finding:
            detail = f"{refusal.code}: {refusal.detail}"
            return Finding("image", self._path, detail, key, extension, offset, len(payload), cause=refusal.code)

        try:
            info = self._checker.check(payload, 0, len(payload), extension)
        except DamagedImageError as error:
            self.findings.append(finding(error))
            return self._header(payload, extension)
        if info.trailing:
            self.trailing.append(finding(trailing_refusal(info)))
        return info

    def _header(self, payload: bytes, extension: str) -> ImageInfo | None:
        """What the header of an image says that cannot be decoded: that is what the index has of it."""
        try:
            return ImageChecker("header", _ANY_PIXELS).check(payload, 0, len(payload), extension)
        except DamagedImageError:
            return None

    def table(self) -> pa.Table:
        """The index of all members added."""
        self._close()
        return build_index(self._columns, self._members)


def first_difference(ours: pa.Table, theirs: pa.Table) -> tuple[str, str | None] | None:
    """The first column and key in which a stored index differs from the rebuilt one; None if there is no difference."""
    if ours.num_rows != theirs.num_rows:
        return "number of rows", None
    for name in REBUILT_COLUMNS:
        mine, other = ours.column(name), theirs.column(name)
        if not mine.equals(other):
            rows = zip(to_list(ours.column("key")), mine.to_pylist(), other.to_pylist(), strict=True)
            return name, next((key for key, a, b in rows if a != b), None)
    return None
