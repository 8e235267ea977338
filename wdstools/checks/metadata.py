"""Check what is next to the shards: index files, manifest, provenance, list of skips, checksum list, card."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.card import CARD_PATH, card_differences
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import misplaced, read_index, unlike
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.formats.sums import SUMS_PATH, render_sums, split_sums
from wdstools.results import Finding
from wdstools.stores.reading import get_whole, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store

_KINDS = {PROVENANCE_PATH: "provenance", SKIPPED_PATH: "skipped", MANIFEST_PATH: "manifest"}
_DIFFER = {"rows": "rows-differ", "values": "values-differ"}
#: The SHA-256 of different data differ in about 128 bits; so few mean that the stored digest itself was damaged.
_FEW_BITS = 16
#: Up to this size a flipped bit is searched for by trying all bits.
_SEARCHED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class IndexCheckTask:
    """One index file to check, with its SHA-256 on the checksum list (or None)."""

    dataset: Dataset
    split: str
    entry: ShardEntry
    listed: str | None


def check_index(task: IndexCheckTask, tick: Tick) -> tuple[Finding, ...]:
    """Check one index: its bytes against the checksum list, its rows and values against the manifest."""
    del tick
    entry = task.entry
    try:
        data = task.dataset.index_bytes(entry)
    except NotFoundError:
        message = "an index is missing; it can be rebuilt from its shard"
        return (Finding("missing", entry.index_path, message, cause="index-missing"),)
    except (StoreError, FormatError) as error:
        return (Finding("unreadable", entry.index_path, error.message, got=error.code, cause=error.code),)
    digest = sha256_hex(data)
    try:
        table = read_index(data, where=entry.index_path)
    except FormatError as error:
        found = Finding("index", entry.index_path, error.message, expected=task.listed, got=digest, cause=error.code)
        return (found,)
    wrong = unlike(table, entry)
    if task.listed in (None, digest):
        if wrong is None and (column := misplaced(table, task.split)):
            message = f"column {column} does not match the shard's place"
            return (Finding("index", entry.index_path, message, cause="column-differs", field=column),)
        if wrong is None:
            return _check_samples(task, table.num_rows)
        name, expected, got = wrong
        message, cause = f"the {name} do not match the manifest", _DIFFER[name]
        return (Finding("index", entry.index_path, message, expected=expected, got=got, cause=cause),)
    if few_bits_apart(digest, task.listed or "") and wrong is None:
        return (_damaged_line(entry.index_path, digest, task.listed),)
    return (_explain_index(task, table, digest),)


def _check_samples(task: IndexCheckTask, rows: int) -> tuple[Finding, ...]:
    """Check the number of samples, once the rows are known to be right."""
    entry = task.entry
    if rows == entry.samples:
        return ()
    message = f"field samples of {entry.path} does not match its index"
    return (
        Finding(
            "manifest",
            task.dataset.manifest_key,
            message,
            expected=str(rows),
            got=str(entry.samples),
            cause="field-wrong",
            field="samples",
        ),
    )


def _explain_index(task: IndexCheckTask, table: object, digest: str) -> Finding:
    from wdstools.checks.rebuild import first_difference, rebuild_index

    entry, dataset = task.entry, task.dataset
    message, key, column = "the bytes are not those that were packed", None, None
    try:
        blocks = read_blocks(dataset.shards, entry.path, entry.bytes)
        ours = rebuild_index(
            blocks,
            path=entry.path,
            split=task.split,
            labels=dataset.manifest.labels,
            authenticated=dataset.manifest.authenticated_ranges,
        )
        difference = first_difference(ours.table, table)
        message = f"column {difference[0]} is damaged" if difference else f"{message}, but the rows are"
        column, key = difference or (None, None)
    except StoreError:
        pass  # without its shard an index cannot be explained further
    cause = "bytes-differ" if column is None else "column-differs"
    return Finding("index", entry.index_path, message, key, expected=task.listed, got=digest, cause=cause, field=column)


def read_list(store: Store) -> tuple[dict[str, str], list[Finding]]:
    """The dataset's checksum list as path -> SHA-256, and the findings about the list itself."""
    try:
        data = get_whole(store, SUMS_PATH)
        lines, first, odd = split_sums(data)
    except NotFoundError:
        return {}, [Finding("missing", SUMS_PATH, "the checksum list is missing", cause="list-missing")]
    except FormatError as error:
        return {}, [_odd_line(error)]
    except StoreError as error:
        return {}, [Finding("unreadable", SUMS_PATH, error.message, got=error.code, cause=error.code)]
    times = Counter(line.path for line in lines)
    listed = {line.path: line.digest for line in lines if times[line.path] == 1}  # of two, which is right?
    if first is not None:
        return listed, [_odd_line(first, others=odd - 1)]
    if render_sums(listed) == data:
        return listed, []
    return listed, [
        Finding("sums", SUMS_PATH, "the checksum list is not in the form it was written in", cause="list-form")
    ]


def _odd_line(error: FormatError, others: int = 0) -> Finding:
    message = f"{error.message} ({error.where}{f', and {others} more' if others else ''})"
    expected, got = error.expected or None, error.got or None
    return Finding("sums", SUMS_PATH, message, expected=expected, got=got, cause=error.code)


def check_metadata(dataset: Dataset, listed: dict[str, str]) -> Iterator[Finding]:
    """Check everything except shards and indexes: manifest, provenance, skips, the lines of the list itself, card."""
    manifest = dataset.manifest
    manifest_whole = True
    for path in (MANIFEST_PATH, *_others(dataset.metadata, listed)):
        if path not in listed:
            yield _no_line(path)
            continue
        for finding in _check_file(dataset.metadata, path, listed[path]):
            manifest_whole = manifest_whole and finding.kind != "manifest"
            yield finding
    expected = {entry.path for _, entry in manifest.shards} | {entry.index_path for _, entry in manifest.shards}
    for _, entry in manifest.shards:
        yield from _check_line(entry, listed)
        if entry.index_path not in listed:
            yield _no_line(entry.index_path)
    for path in sorted(set(listed) - expected - {MANIFEST_PATH, *_KINDS}):
        message = f"a line for {path}, which is not a file of this dataset"
        yield Finding("sums", SUMS_PATH, message, cause="line-unknown", field=path)
    if manifest_whole:
        yield from _check_card(dataset)


def _others(store: Store, listed: dict[str, str]) -> list[str]:
    """Provenance always; the skips if they are listed or exist."""
    found = [PROVENANCE_PATH]
    with contextlib.suppress(NotFoundError):
        if SKIPPED_PATH not in listed:
            store.head(SKIPPED_PATH)
        found.append(SKIPPED_PATH)
    return found


def _check_line(entry: ShardEntry, listed: dict[str, str]) -> Iterator[Finding]:
    digest = listed.get(entry.path)
    if digest is None:
        yield _no_line(entry.path)
    elif digest != entry.sha256:
        where = "one of the two is damaged" if few_bits_apart(digest, entry.sha256) else "they are for different shards"
        yield Finding(
            "sums",
            SUMS_PATH,
            f"the line for {entry.path} differs from the manifest's sha256; {where}",
            expected=entry.sha256,
            got=digest,
            cause="line-differs",
            field=entry.path,
        )


def _check_file(store: Store, path: str, listed: str) -> Iterator[Finding]:
    kind = _KINDS[path]
    try:
        data = get_whole(store, path)
    except NotFoundError:
        yield Finding("missing", path, "a file is missing", expected=listed, cause="file-missing")
        return
    except (StoreError, FormatError) as error:
        yield Finding("unreadable", path, error.message, got=error.code, cause=error.code)
        return
    digest = sha256_hex(data)
    if digest == listed:
        return
    if few_bits_apart(digest, listed):
        yield _damaged_line(path, digest, listed)
        return
    yield damaged_text(kind, path, data, listed)


def damaged_text(kind: str, path: str, data: bytes, listed: str) -> Finding:
    """The finding for a small file that does not match the checksum list; names byte and field if possible."""
    at = find_flipped_bit(data, listed)
    message = "the bytes are not those that were packed"
    if at is not None:
        message = f"one bit is wrong, near {_field_near(data, at)}"
    length, cause = (None, "bytes-differ") if at is None else (1, "one-bit")
    got = sha256_hex(data)
    return Finding(kind, path, message, start=at, length=length, expected=listed, got=got, cause=cause)


def _no_line(path: str) -> Finding:
    return Finding("sums", SUMS_PATH, f"no line for {path}", cause="line-missing", field=path)


def _damaged_line(path: str, digest: str, listed: str | None) -> Finding:
    """The finding for a line whose file is right, and whose digest differs from the file's in a few bits."""
    message = f"the digest of {path} is damaged"
    return Finding("sums", SUMS_PATH, message, expected=digest, got=listed, cause="line-digest-damaged", field=path)


def undo_flipped_bit(data: bytes, sha256: str) -> bytes | None:
    """The data with the single bit flipped that gives it this SHA-256; None if no single bit does."""
    at = find_flipped_bit(data, sha256)
    if at is None:
        return None
    attempts = (data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] for bit in range(8))
    return next(attempt for attempt in attempts if sha256_hex(attempt) == sha256)


def find_flipped_bit(data: bytes, sha256: str) -> int | None:
    """The byte in which one flipped bit explains the other SHA-256, by trying all; None if none does or data is large."""
    if len(data) > _SEARCHED_BYTES:
        return None
    wanted = bytes.fromhex(sha256)
    prefix = hashlib.sha256()
    for at in range(len(data)):
        for bit in range(8):
            attempt = prefix.copy()
            attempt.update(bytes([data[at] ^ 1 << bit]))
            attempt.update(data[at + 1 :])
            if attempt.digest() == wanted:
                return at
        prefix.update(data[at : at + 1])
    return None


def _field_near(data: bytes, at: int) -> str:
    """The JSON key before a byte, for people."""
    before = data[:at].decode("utf-8", "replace")
    name = before.rpartition('":')[0].rpartition('"')[2]
    line = before.count("\n") + 1
    return f"field {json.dumps(name)} on line {line}" if name else f"line {line}"


def few_bits_apart(a: str, b: str) -> bool:
    """Whether two digests differ so little that one is a damaged copy of the other."""
    return len(a) == len(b) and (int(a, 16) ^ int(b, 16)).bit_count() <= _FEW_BITS


def _check_card(dataset: Dataset) -> Iterator[Finding]:
    try:
        text = get_whole(dataset.metadata, CARD_PATH).decode("utf-8")
    except NotFoundError:
        yield Finding("missing", CARD_PATH, "the dataset card is missing", cause="card-missing")
        return
    except UnicodeDecodeError as error:
        yield Finding("card", CARD_PATH, "the card is not UTF-8", start=error.start, length=1, cause="card-not-text")
        return
    except (StoreError, FormatError) as error:
        yield Finding("unreadable", CARD_PATH, error.message, got=error.code, cause=error.code)
        return
    for part in card_differences(text, dataset.manifest):
        message = f"the {part} does not match the manifest"
        yield Finding("card", CARD_PATH, message, cause="card-part-differs", field=part)
