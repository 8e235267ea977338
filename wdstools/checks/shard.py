"""Check one shard of a dataset: whether it is intact and, if not, which sample and which bytes are damaged.

The modules that look into shards are imported where they are needed: an intact shard is only hashed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import xxhash

from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.index import unlike
from wdstools.formats.manifest import TRAILING_BYTES_FORMAT
from wdstools.results import Finding
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.reading import near_copy, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.checks.rebuild import Rebuilt
    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry


@dataclass(frozen=True, slots=True)
class ShardCheckTask:
    """One shard to check at a level; ``digest`` is xxh3_128 or sha256."""

    dataset: Dataset
    split: str
    entry: ShardEntry
    level: str
    digest: str


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """What was found in one shard, and what could not be proved."""

    path: str
    findings: tuple[Finding, ...]
    bytes: int = 0
    samples: int = 0
    unproved: tuple[str, ...] = ()


def check_shard(task: ShardCheckTask, tick: Tick) -> ShardCheck:
    """Check one shard. Damage is in the findings, as is a disk that fails during reading (``unreadable``).

    A network failure proves nothing: it is in ``unproved``.
    """
    entry, store = task.entry, task.dataset.shards
    size, found = 0, False
    try:
        size, found = store.head(entry.path).bytes, True
        findings = check_size(entry, size) if task.level == "size" else _check_bytes(task, size)
    except StoreError as error:
        if not found and isinstance(error, NotFoundError):
            tick(entry.bytes)
            return missing_shard(entry)
        if not isinstance(store, LocalStore):
            if not found:
                raise  # more likely the place itself than this shard
            tick(entry.bytes)
            return ShardCheck(entry.path, (), unproved=(f"{store.url}/{entry.path}: {error.message} ({error.code})",))
        findings = [Finding("unreadable", entry.path, error.message, got=error.code, cause=error.code)]
    tick(entry.bytes)
    unproved = _unproved_by(entry, task.digest) if task.level != "size" and not findings else ()
    return ShardCheck(entry.path, tuple(findings), size if task.level != "size" else 0, entry.samples, unproved)


def _unproved_by(entry: ShardEntry, digest: str) -> tuple[str, ...]:
    """What cannot be proved about a shard because the digest was not computed when it was adopted."""
    if getattr(entry, digest):
        return ()
    return (f"{entry.path} was adopted without {digest}: only its size and headers can be compared",)


def missing_shard(entry: ShardEntry) -> ShardCheck:
    """The result for a missing shard."""
    return ShardCheck(
        entry.path,
        (Finding("missing", entry.path, "a shard is missing", expected=f"{entry.bytes} bytes", cause="shard-missing"),),
    )


def check_size(entry: ShardEntry, size: int) -> list[Finding]:
    """The findings from a shard's size."""
    if size == entry.bytes:
        return []
    if size < entry.bytes:
        return [
            Finding(
                "truncated",
                entry.path,
                "a shard is shorter than when it was packed",
                start=size,
                length=entry.bytes - size,
                expected=f"{entry.bytes} bytes",
                got=f"{size} bytes",
                cause="shard-shorter",
            )
        ]
    return [
        Finding(
            "trailer",
            entry.path,
            "a shard is longer than when it was packed",
            start=entry.bytes,
            length=size - entry.bytes,
            expected=f"{entry.bytes} bytes",
            got=f"{size} bytes",
            cause="shard-longer",
        )
    ]


def _check_bytes(task: ShardCheckTask, size: int) -> list[Finding]:
    entry = task.entry
    if task.dataset.manifest.profile == "foreign":
        return _check_foreign(task, size)
    blocks = read_blocks(task.dataset.shards, entry.path, entry.bytes)
    # without ``values``, only the shard itself proves the values of its index
    if task.level == "digest" and (entry.values or not task.dataset.anchored):
        computed = _Hashing(blocks, task.digest).hexdigest()
        if size == entry.bytes and computed == getattr(entry, task.digest):
            return []
        return _explain(task, size, computed)
    from wdstools.checks.rebuild import rebuild_index

    hashing = _Hashing(blocks, task.digest)
    level = "decode" if task.level == "decode" else "header"
    labels = task.dataset.manifest.labels
    rebuilt = rebuild_index(
        hashing,
        path=entry.path,
        split=task.split,
        labels=labels,
        level=level,
        authenticated=task.dataset.manifest.authenticated_ranges,
    )
    if size != entry.bytes or hashing.hexdigest() != getattr(entry, task.digest):
        return _explain(task, size, hashing.hexdigest())
    return _check_rows(task, rebuilt)


def _check_foreign(task: ShardCheckTask, size: int) -> list[Finding]:
    """Like ``_check_bytes``, for a shard that wdstools did not make."""
    from wdstools.checks.foreign import check_foreign_rows, decode_foreign

    entry, store = task.entry, task.dataset.shards
    expected = getattr(entry, task.digest)
    computed = _Hashing(read_blocks(store, entry.path, entry.bytes), task.digest).hexdigest() if expected else ""
    if size != entry.bytes or computed != expected:
        return _explain(task, size, computed)
    if task.level == "digest" and expected:
        return []
    try:
        table = task.dataset.index(entry)
    except (FormatError, StoreError):
        return []  # reported with the metadata
    findings = check_foreign_rows(store, entry, task.split, table)
    return findings or (list(decode_foreign(store, entry, table)) if task.level == "decode" else [])


class _Hashing:
    """Hashes blocks as they pass."""

    def __init__(self, blocks: Iterator[memoryview], algorithm: str) -> None:
        self._blocks = blocks
        self._digest: Any = xxhash.xxh3_128() if algorithm == "xxh3_128" else hashlib.new(algorithm)

    def __iter__(self) -> Iterator[memoryview]:
        for block in self._blocks:
            self._digest.update(block)
            yield block

    def hexdigest(self) -> str:
        """The digest of all blocks, including those not consumed yet."""
        for block in self._blocks:
            self._digest.update(block)
        return str(self._digest.hexdigest())


def _check_rows(task: ShardCheckTask, rebuilt: Rebuilt) -> list[Finding]:
    """Check a shard whose digest is right: its images, its manifest line and its index must agree with it too."""
    from wdstools.checks.rebuild import first_difference

    entry = task.entry
    findings = [*rebuilt.stream.findings, *rebuilt.findings]
    if task.dataset.manifest.format < TRAILING_BYTES_FORMAT:
        findings += rebuilt.trailing
    if wrong := unlike(rebuilt.table, entry):
        name, given, computed = wrong
        findings.append(
            Finding(
                "manifest",
                task.dataset.manifest_key,
                f"field {name} of {entry.path} does not match the shard",
                expected=computed,
                got=given,
                cause="field-wrong",
                field=name,
            )
        )
    if rebuilt.table.num_rows != entry.samples:
        findings.append(
            Finding(
                "manifest",
                task.dataset.manifest_key,
                f"field samples of {entry.path} does not match the shard",
                expected=str(rebuilt.table.num_rows),
                got=str(entry.samples),
                cause="field-wrong",
                field="samples",
            )
        )
    try:
        difference = first_difference(rebuilt.table, task.dataset.index(entry))
    except (FormatError, StoreError):
        return findings  # reported with the metadata
    if difference:
        column, key = difference
        message = f"column {column} does not match the shard"
        findings.append(Finding("index", entry.index_path, message, key, cause="column-differs", field=column))
    return findings


def _explain(task: ShardCheckTask, size: int, computed: str) -> list[Finding]:
    """Find out where a shard that does not match the manifest is damaged; ``computed`` is "" if it has no digest.

    A remote shard is fetched again, to a temporary file: if it was only damaged on the way, it is intact this time; if
    it is damaged there, it can be examined without a request per sample.
    """
    if not isinstance(task.dataset.shards, LocalStore | MemoryStore):
        with near_copy(task.dataset.shards, task.entry.path, task.entry.bytes) as near:
            dataset = replace(task.dataset, shards=near, readers={})
            return _check_bytes(replace(task, dataset=dataset), near.head(task.entry.path).bytes)
    from wdstools.checks.foreign import localise_foreign
    from wdstools.checks.localise import Localiser
    from wdstools.checks.stream import check_stream

    entry, manifest = task.entry, task.dataset.manifest
    if computed and computed == getattr(entry, task.digest):
        return [_wrong_field(task, "bytes", str(size))]
    same = (s.path for _, s in manifest.shards if computed and getattr(s, task.digest) == computed)
    twin = next((path for path in same if path != entry.path), None)
    if twin is not None:
        return [
            Finding(
                "swapped",
                entry.path,
                f"this is the content of {twin}",
                start=0,
                length=size,
                expected=getattr(entry, task.digest),
                got=computed,
                cause="swapped",
            )
        ]
    try:
        table = task.dataset.index(entry)
    except (FormatError, StoreError):
        table = None
    store = task.dataset.shards
    findings = check_size(entry, size)
    if manifest.profile == "foreign":
        found = list(localise_foreign(store, entry, table)) if table is not None and entry.xxh3_128 else []
        return found if any(f.kind != "trailer" for f in found) else findings or found or [_unknown(task, computed)]
    if table is not None:
        found = Localiser(store, entry.path, size, table).run()
    else:
        stream = check_stream(read_blocks(store, entry.path), entry.path)
        found = stream.findings
        if not found and stream.sealed == stream.members:
            return [_unexplained(task, computed, known=False)]
    if found:
        # findings from the samples say more than those from the size
        findings = [f for f in findings if not any(g.kind == f.kind for g in found)] + found
    return findings or [_unexplained(task, computed, known=table is not None)]


def _unknown(task: ShardCheckTask, computed: str) -> Finding:
    """The finding for a foreign shard that changed, without digests of its members to show where."""
    expected = getattr(task.entry, task.digest)
    message = "a shard differs from what was adopted"
    return Finding("file", task.entry.path, message, expected=expected, got=computed, cause="shard-changed")


def _unexplained(task: ShardCheckTask, computed: str, *, known: bool) -> Finding:
    """The finding for a shard with the wrong digest, although every header and payload is right.

    The manifest's digest is wrong if every sample is the one in the index (``known``) or if the other digest is right;
    otherwise this is an intact shard of something else.
    """
    other = "sha256" if task.digest == "xxh3_128" else "xxh3_128"
    got = _Hashing(read_blocks(task.dataset.shards, task.entry.path), other).hexdigest()
    if task.dataset.anchored and got == getattr(task.entry, other) and task.digest == "sha256":
        return Finding(
            "payload",
            task.entry.path,
            "a shard has the XXH3 of what was packed but not its SHA-256: it was forged",
            start=0,
            length=task.entry.bytes,
            expected=task.entry.sha256,
            got=computed,
            cause="forged",
        )
    if known or got == getattr(task.entry, other):
        return _wrong_field(task, task.digest, computed)
    return Finding(
        "swapped",
        task.entry.path,
        "an intact shard, but not the one of this dataset; it may be from another version",
        expected=task.entry.sha256,
        got=got if other == "sha256" else computed,
        cause="of-another",
    )


def _wrong_field(task: ShardCheckTask, name: str, right: str) -> Finding:
    entry = task.entry
    return Finding(
        "manifest",
        task.dataset.manifest_key,
        f"field {name} of {entry.path} does not match the shard, which is intact",
        expected=right,
        got=str(getattr(entry, name)),
        cause="field-wrong",
        field=name,
    )
