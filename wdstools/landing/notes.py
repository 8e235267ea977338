"""What is in a bucket while a dataset is packed into it: a claim, and a note for each shard, which form the journal.

An object store can neither rename a prefix nor lock it. So each note is an object of its own, written whole, and an
object under the prefix is ours only if a note with its digest was there before it; anything else stays.
"""

from __future__ import annotations

import hmac
import json
import re
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError, StoreError
from wdstools.formats.columns import is_column_file
from wdstools.formats.manifest import COLUMNS_LIST, is_packed
from wdstools.landing.small_files import SMALL_FILES
from wdstools.stores.base import ABSENT, ANYTHING
from wdstools.stores.confirmed import secret_of
from wdstools.stores.reading import get_whole, sha256_there
from wdstools.user_cache import shared_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wdstools.stores.base import ObjectInfo, RemoteStore, Store

#: Not part of a dataset; removed once the manifest is there.
PACKING = ".wdstools/packing/"
#: In a note: the objects about to be stored, with their SHA-256, and what is known of a finished shard.
BEGUN, DONE = "begun", "done"
#: In what is known of a finished shard: the seal, which proves who noted it.
SEAL = "seal"
#: The note of the small files.
SMALL_NOTE = "files"
_MAX_NOTE_BYTES = 1 << 24
_NOTE_RE = re.compile(re.escape(PACKING) + r"[0-9a-f]{32}/[A-Za-z0-9_-]+\.json")
_DIGEST_RE = re.compile(r"[0-9a-f]{64}")

Line = dict[str, Any]


def note_path(plan: str, name: str) -> str:
    """The key of a shard's note; ``name`` may be the shard's path."""
    return f"{PACKING}{plan}/{name.rpartition('/')[2].removesuffix('.tar')}.json"


def is_note(key: str) -> bool:
    """Whether a key is that of a note."""
    return _NOTE_RE.fullmatch(key) is not None


def _is_written(path: str) -> bool:
    """Whether a path is one of a dataset's files. Anybody with write access may have made a note that names another."""
    return path in (*SMALL_FILES, COLUMNS_LIST) or is_packed(path) or is_column_file(path)


def read_note(store: Store, key: str) -> Line:
    """A note, empty if there is none. Raises StoreError (``scratch-not-ours``) for an object that is not a note."""
    try:
        data = get_whole(store, key, _MAX_NOTE_BYTES)
    except NotFoundError:
        return {}
    try:
        note = json.loads(data)
        begun = note[BEGUN]
        good = all(_is_written(path) and _DIGEST_RE.fullmatch(digest) for path, digest in begun.items())
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        good = False
    if not good or not isinstance(note.get(DONE, {}), dict):
        raise not_ours(f"{store.url}/{key}", "a note that wdstools did not write")
    return dict(note)


def write_note(store: RemoteStore, key: str, begun: Mapping[str, str], done: Line | None = None) -> None:
    """Write a note of what is about to be stored, or that all of it is there."""
    note = {BEGUN: dict(begun)} | ({} if done is None else {DONE: done})
    store.put_data(key, (json.dumps(note, ensure_ascii=False, sort_keys=True) + "\n").encode())


def seal_key(plan: str) -> bytes:
    """The key that seals the notes of a plan; write access to the bucket is not enough to forge a seal."""
    secret = shared_secret() or secret_of("packing")
    return hmac.digest(secret.encode("utf-8", "surrogateescape"), plan.encode(), "sha256")


def seal(key: bytes, path: str, done: Line) -> str:
    """The seal of what a note says about a finished shard."""
    said = json.dumps({name: value for name, value in done.items() if name != SEAL}, sort_keys=True)
    return hmac.digest(key, f"{path}\n{said}".encode(), "sha256").hex()


def is_sealed(key: bytes, path: str, done: Line) -> bool:
    """Whether the writer of the note had the key."""
    said = done.get(SEAL)
    return isinstance(said, str) and said.isascii() and hmac.compare_digest(said, seal(key, path, done))


def not_ours(where: str, got: str) -> StoreError:
    """The error for an object that no note shows to be ours."""
    return StoreError(
        "an object that wdstools did not write is where a dataset is being packed",
        code="scratch-not-ours",
        where=where,
        got=got,
        hint="move it away or delete it, then run the same command again; nothing of it was changed",
    )


def clear_begun(store: RemoteStore, note: Line, wanted: Mapping[str, str]) -> None:
    """Delete what an earlier run stored and this run makes differently; it is ours if it matches its note."""
    for path, digest in note.get(BEGUN, {}).items():
        if wanted.get(path) != digest and sha256_there(store, path) == digest:
            store.delete(path)


def create(
    store: RemoteStore, key: str, sha256: str, put: Callable[[str], ObjectInfo], *, conditions: bool
) -> ObjectInfo:
    """Store an object under a new key. An existing one with the same bytes is as good; any other one stays.

    Without ``conditions`` (the store has no conditional writes) a HEAD comes first, which is the next best: another
    writer may come between the two. Raises StoreError (``scratch-not-ours``).
    """
    try:
        if conditions:
            return put(ABSENT)
        store.head(key)
    except NotFoundError:
        return put(ANYTHING)
    except StoreError as error:
        if error.code == "store-cannot":
            return create(store, key, sha256, put, conditions=False)
        if error.code != "object-exists":
            raise
    there = store.head(key)
    if sha256_there(store, key) != sha256:
        raise not_ours(f"{store.url}/{key}", f"other bytes: {there.bytes:,}")
    return there
