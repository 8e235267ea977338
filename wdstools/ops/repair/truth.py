"""Which manifest is the right one, when the dataset's own may be damaged, stale or lost."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wdstools.checks.manifest_line import DescribeTask, Description, describe_shard
from wdstools.checks.metadata import read_list, undo_flipped_bit
from wdstools.checks.salvage import SurveyTask, survey_shard
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, option
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import (
    MANIFEST_PATH,
    MAX_MANIFEST_BYTES,
    PROVENANCE_PATH,
    Manifest,
    dumps,
    loads,
    needed_format,
)
from wdstools.formats.sample import member_order
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.executors.base import Executor
    from wdstools.ops.repair.copies import Copy
    from wdstools.progress import Progress
    from wdstools.stores.local import LocalStore

_SHARD_RE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*)/\1-(\d{6})\.tar")
_ROOT_RE = re.compile(r"^Root digest .*`([0-9a-f]{64})`$", re.MULTILINE)
OWN = "its own"
ONE_BIT = "its own, with one bit undone"
REBUILT = "the shards"


@dataclass(frozen=True, slots=True)
class Truth:
    """The manifest to repair to: its bytes, and where they come from (``OWN``, ``ONE_BIT``, ``REBUILT``, or a copy's name).

    ``anchored``: its root digest was given, so that SHA-256 proves the repair against forgers.
    """

    manifest: Manifest
    data: bytes
    origin: str
    anchored: bool = False


def find_truth(
    store: LocalStore, copies: Sequence[Copy], root: str | None, executor: Executor, progress: Progress
) -> Truth:
    """The manifest with the digest ``root``, or without it the one that the rest of the dataset vouches for.

    In this order: the dataset's own manifest, if its checksum list agrees or names none; its own with one bit flipped back,
    or a copy's, if it has the digest in the checksum list or the card; one rebuilt from the shards; a copy's, if a shard
    here belongs to it. Raises IntegrityError (``manifest-lost``) if there is none.
    """
    if root is not None:
        return replace(_find_truth(store, copies, root, executor, progress), anchored=True)
    return _find_truth(store, copies, None, executor, progress)


def _find_truth(
    store: LocalStore, copies: Sequence[Copy], root: str | None, executor: Executor, progress: Progress
) -> Truth:
    vouched = {root} if root is not None else _vouched(store)
    candidates = list(_candidates(store, copies, vouched))
    own = next((truth for truth in candidates if truth.origin == OWN), None)
    for truth in candidates:
        if sha256_hex(truth.data) in vouched:
            return truth
    if own is not None and root is None and not _is_stale(store, own):
        return own
    rebuilt = _rebuild(store, executor, progress)
    if rebuilt is not None and (rebuilt.manifest.root in vouched or not (vouched or candidates)):
        return rebuilt
    if root is None:
        for truth in candidates:
            if _shares_a_shard(store, truth.manifest):
                return truth
    raise IntegrityError(
        "no manifest of this dataset is left, and none can be rebuilt",
        code="manifest-lost",
        where=f"{store.url}/{MANIFEST_PATH}",
        expected=f"root digest {' or '.join(sorted(vouched))}" if vouched else "",
        got=f"root digest {rebuilt.manifest.root} from the shards" if rebuilt is not None else "",
        hint=f"give a whole copy of the dataset with {option('spares')}",
    )


def _vouched(store: LocalStore) -> set[str]:
    """The root digests that the dataset's other files name."""
    listed, _ = read_list(store)
    found = {listed[MANIFEST_PATH]} if MANIFEST_PATH in listed else set()
    if not found:
        found = set(_ROOT_RE.findall(_text(store, CARD_PATH)))
    return found


def _is_stale(store: LocalStore, own: Truth) -> bool:
    """Whether the checksum list and the card agree on a root that is not that of the dataset's own manifest."""
    listed, _ = read_list(store)
    named = set(_ROOT_RE.findall(_text(store, CARD_PATH)))
    return MANIFEST_PATH in listed and listed[MANIFEST_PATH] in named and own.manifest.root not in named


def _candidates(store: LocalStore, copies: Sequence[Copy], vouched: set[str]) -> Iterator[Truth]:
    try:
        data = get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES)
    except (StoreError, FormatError):
        data = b""
    yield from _loaded(data, OWN)
    for digest in vouched:
        mended = undo_flipped_bit(data, digest) if sha256_hex(data) != digest else None
        if mended is not None:
            yield from _loaded(mended, ONE_BIT)
    for copy in copies:
        found = copy.file(MANIFEST_PATH)
        if found is not None:
            yield from _loaded(found, copy.name)


def _loaded(data: bytes, origin: str) -> Iterator[Truth]:
    try:
        yield Truth(loads(data), data, origin)
    except FormatError:
        return


def _shares_a_shard(store: LocalStore, manifest: Manifest) -> bool:
    """Whether at least one shard of this manifest is here, and whole."""
    tasks = (SurveyTask(store, entry) for _, entry in manifest.shards)
    return any(survey_shard(task, lambda _: None).is_whole(task.entry) for task in tasks)


def _text(store: LocalStore, path: str) -> str:
    try:
        return get_whole(store, path).decode("utf-8", "replace")
    except (StoreError, FormatError):
        return ""


def _rebuild(store: LocalStore, executor: Executor, progress: Progress) -> Truth | None:
    """A manifest rebuilt from the shards; None if one is damaged or cannot be read, because the manifest would differ."""
    identity = _identity(store)
    found = {path.key: match for path in store.list() if (match := _SHARD_RE.fullmatch(path.key))}
    if not found:
        return None
    labels = tuple(identity.get("labels", ()))
    authenticated = identity.get("authenticated_ranges", False)
    values = identity.get("values", False)
    tasks = [
        DescribeTask(store, match[1], path, labels, authenticated, values) for path, match in sorted(found.items())
    ]
    progress.start("read the shards", sum(store.head(path).bytes for path in found), "bytes")
    try:
        outcomes = sorted(executor.map(describe_shard, tasks, progress.advance), key=lambda outcome: outcome.index)
        described: list[Description] = [outcome.result() for outcome in outcomes]
    except (NotFoundError, StoreError):
        return None
    finally:
        progress.finish()
    if any(shard.findings for shard in described):
        return None
    extensions = {ext for shard in described for ext in _extensions(shard)}
    splits: dict[str, list[Any]] = {}
    for shard in described:
        splits.setdefault(shard.split, []).append(shard.entry)
    manifest = Manifest(
        name=identity.get("name", ""),
        version=identity.get("version", 1),
        labels=labels,
        members=member_order(extensions),
        seed=identity.get("seed", 0),
        authenticated_ranges=authenticated,
        splits={split: tuple(entries) for split, entries in splits.items()},
        format=needed_format(
            member_order(extensions), trailing=any(s.trailing for s in described), before=identity.get("format", 1)
        ),
    )
    data = dumps(manifest)
    return next(_loaded(data, REBUILT), None)


def _extensions(shard: Description) -> set[str]:
    return set(shard.index.column("members").combine_chunks().flatten().field("ext").to_pylist())


def _identity(store: LocalStore) -> dict[str, Any]:
    """What a manifest says beyond its shards, as recorded in provenance; a value that a manifest cannot have is left out."""
    try:
        document = json.loads(_text(store, PROVENANCE_PATH))
    except (ValueError, RecursionError):
        return {}
    identity = document.get("dataset") if isinstance(document, dict) else None
    found = identity if isinstance(identity, dict) else {}
    values = {name: read(found[name]) for name, read in _IDENTITY.items() if name in found}
    return {name: value for name, value in values.items() if value is not None}


def _plain_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character (a lone surrogate)
        return None
    return value


def _plain_texts(value: Any) -> list[str] | None:
    texts = [_plain_text(one) for one in value] if isinstance(value, list) else [None]
    return [text for text in texts if text is not None] if None not in texts else None


def _whole_number(value: Any) -> int | None:
    """A number, also if another program has written it as ``7.0`` or as text."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    is_exact = number == value or str(number) == value
    return number if is_exact and not isinstance(value, bool) and 0 <= number < 1 << 53 else None


_IDENTITY: dict[str, Callable[[Any], Any]] = {
    "name": _plain_text,
    "labels": _plain_texts,
    "version": _whole_number,
    "seed": _whole_number,
    "format": _whole_number,
    "authenticated_ranges": bool,
    "values": bool,
}
