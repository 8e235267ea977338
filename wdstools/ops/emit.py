"""emit: the files that other readers want, placed so that they do not break each other. They never change the root."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Unpack, get_args

from wdstools.dataset import Dataset, as_dataset
from wdstools.errors import NotFoundError, StoreError, UsageError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import open_executor
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.interop.croissant import croissant_files
from wdstools.interop.emitted import EMITTED_PATH, Emitted, read_emitted
from wdstools.interop.huggingface import emitted_card, new_title, plain_card, written_keys
from wdstools.interop.sizes import open_clip_files, timm_files
from wdstools.interop.tarindexes import ENERGON_DATABASE, OffsetsTask, energon_database, energon_files, offsets_file
from wdstools.interop.torn import torn_files
from wdstools.landing.inside import read_inside, require_inside
from wdstools.options.declare import settle
from wdstools.options.move import Consumer, EmitChoices
from wdstools.plan import Plan, Step, apply
from wdstools.results import Proved
from wdstools.stores.local import LocalStore
from wdstools.stores.locks import locked_folder
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.executors.base import Executor
    from wdstools.options.declare import StrPath
    from wdstools.progress import Progress
    from wdstools.stores.base import Store

CONSUMERS: tuple[Consumer, ...] = tuple(name for name in get_args(Consumer) if name != "all")
_MAX_FILE_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class EmitResult:
    """What emitting did: how many files were written, linked and deleted, and for whom files are there now.

    ``proved`` is of what the files say, which is what manifest and indexes say.
    """

    target: str
    written: int
    linked: int
    deleted: int
    consumers: tuple[str, ...]
    proved: Proved = Proved.NOTHING


@dataclass(frozen=True, slots=True)
class EmitPlan(Plan[EmitResult]):
    """What would be written and deleted, beside the manifest.

    ``files`` are the contents, ``links`` lead to shards that lie elsewhere, ``emitted`` is the new list (None: none is left).
    ``under_way`` is the list while files are written; ``before`` has the digest of each file that is replaced or deleted.
    """

    dataset: Dataset | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    links: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    emitted: Emitted | None = None
    under_way: Emitted | None = None
    before: Mapping[str, str] = field(default_factory=dict, repr=False)

    def carry_out(self, executor: Executor, progress: Progress) -> EmitResult:
        """Write a list first: it has the digest of whatever is written after it, so that this is known to be ours."""
        del executor
        assert self.dataset is not None
        store = self.dataset.metadata
        if not isinstance(store, LocalStore) or not self.steps:
            return self._write(store, progress)
        require_inside(store.path, [*self.files, *self.links, *self.deleted, EMITTED_PATH])
        with locked_folder(store.locate(".wdstools"), store.path):
            return self._write(store, progress)

    def _write(self, store: Store, progress: Progress) -> EmitResult:
        assert self.dataset is not None
        first = self.under_way or self.emitted
        if first is not None and self.steps:
            store.put(EMITTED_PATH, first.dumps())
        progress.start(self.verb, len(self.steps), "files")
        for path, data in self.files.items():
            self._require_as_planned(path)
            store.put(path, data)
            progress.advance(1)
        for path in self.links:
            if _there(self.dataset, path) or _is_link(self.dataset, path):
                raise _in_the_way(path)
            assert isinstance(store, LocalStore)
            assert isinstance(self.dataset.shards, LocalStore)
            store.link(path, self.dataset.shards.locate(path))
            progress.advance(1)
        for path in self.deleted:
            self._require_as_planned(path)
            store.delete(path)
            if isinstance(store, LocalStore):
                store.remove_empty_folders(path)
            progress.advance(1)
        if self.emitted is None and self.steps:
            store.delete(EMITTED_PATH)
        elif self.emitted is not None and self.emitted != first:
            store.put(EMITTED_PATH, self.emitted.dumps())
        progress.finish()
        return EmitResult(
            target=self.target,
            written=sum(step.action == "write" for step in self.steps),
            linked=len(self.links),
            deleted=sum(step.action == "delete" for step in self.steps),
            consumers=tuple(sorted(self.emitted.consumers)) if self.emitted else (),
            proved=self._proved(),
        )

    def _require_as_planned(self, path: str) -> None:
        """Refuse to touch what is not what lay there when the plan was made; raises StoreError."""
        assert self.dataset is not None
        if path in self.before:
            if _digest(self.dataset, path) != self.before[path]:
                raise _changed(path)
        elif _is_link(self.dataset, path):
            if not _is_our_link(self.dataset, path):
                raise _in_the_way(path)
        elif _there(self.dataset, path):
            raise _in_the_way(path)

    def _proved(self) -> Proved:
        if self.dataset is None or not self.files:
            return Proved.NOTHING
        return Proved.FORGER if self.dataset.anchored and self.dataset.manifest.has_values else Proved.ACCIDENT


def plan_emit(
    dataset: Dataset | StrPath,
    consumers: Iterable[Consumer],
    *,
    executor: Executor | None = None,
    **choices: Unpack[EmitChoices],
) -> EmitPlan:
    """Plan the files that other readers want, beside what is there already; the root digest stays.

    The card is always written, because it protects Hugging Face from the others' files. Nothing is written beside tars
    that are elsewhere than their manifest: links to them make its folder one that every reader opens.

    Args:
        dataset: A dataset, its folder or URL.
        consumers: For whom, of ``CONSUMERS``, or ``all``.
        executor: Who reads the indexes of shards; without one it is done here.
        **choices: What the files say; see ``EmitChoices``.

    Returns:
        The plan, with the contents of the files.

    Raises:
        UsageError: There is no such reader, or it cannot read this dataset.
        StoreError: A file that wdstools did not write is in the way (``file-in-the-way``), or one that it wrote was changed
            since (``emitted-changed``): it stays.
        WdsError: The dataset could not be opened.
    """
    license_name = settle(EmitChoices, choices)["license_name"]
    dataset = as_dataset(dataset)
    wanted = _consumers(consumers)
    if dataset.manifest_key != MANIFEST_PATH:
        raise UsageError(
            "files for other readers belong beside a dataset's manifest, and this is a manifest alone",
            where=dataset.metadata.url,
            expected=f"a folder or URL with {MANIFEST_PATH}",
        )
    old = read_emitted(dataset.metadata, dataset.manifest)
    files_of = partial(_files_for, dataset, license_name, executor or open_executor("serial"))
    made = {path: (consumer, data) for consumer in wanted for path, data in files_of(consumer)}
    card_before = _card(dataset)
    ours = frozenset(old.card_keys)
    card = emitted_card(dataset, card_before, ours, license_name).encode()
    kept = {path: entry for path, entry in old.files.items() if entry[0] not in wanted}
    files = kept | {path: (consumer, sha256_hex(data)) for path, (consumer, data) in made.items()}
    whole = {path: data for path, (_, data) in made.items()} | {CARD_PATH: card}
    writes = {path: data for path, data in whole.items() if _differs(dataset, path, data, old)}
    gone = _still_ours(dataset, old, sorted(path for path in old.files if path not in files))
    torn = torn_files(dataset.metadata, whole, lambda path, data: whole[path].startswith(data))
    before = gone | torn | {path: digest for path in writes if (digest := _digest(dataset, path)) is not None}
    stale = (*gone, *torn)
    emitted = Emitted(
        dataset.root,
        dict(sorted(files.items())),
        tuple(sorted(written_keys(card_before, ours))),
        old.new_card or not card_before,
        tuple(sorted(_links(dataset))),
        {path: digest for path, digest in old.earlier.items() if path in kept},
    )
    stale += tuple(path for path in old.links if path not in emitted.links and _is_our_link(dataset, path))
    under_way = replace(
        emitted,
        files=emitted.files | {path: old.files[path] for path in gone},
        earlier=emitted.earlier
        | {path: digest for path, digest in before.items() if path in files and path in old.files},
    )
    links = tuple(path for path in emitted.links if not _there(dataset, path))
    if not writes and not stale and not links and old == emitted:
        return EmitPlan("emit", dataset.metadata.url, (), dataset=dataset, emitted=emitted)
    steps = [
        Step("write", path, len(data), detail=made.get(path, ("huggingface", b""))[0]) for path, data in writes.items()
    ]
    steps += [Step("link", path, detail=f"to the shard in {dataset.shards.url}") for path in links]
    steps += [*(Step("delete", path) for path in stale), *_kept(old)]
    steps += [Step("write", EMITTED_PATH, len(emitted.dumps()), detail="what is emitted")]
    return EmitPlan(
        "emit",
        dataset.metadata.url,
        tuple(steps),
        dataset=dataset,
        files=writes,
        links=links,
        deleted=stale,
        emitted=emitted,
        under_way=under_way,
        before=before,
    )


def emit(
    dataset: Dataset | StrPath,
    consumers: Iterable[Consumer],
    *,
    remove: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[EmitChoices],
) -> EmitResult:
    """Write the files that other readers want, or take them away: ``plan_emit`` or ``plan_emit_removal``, carried out.

    Args:
        dataset: A dataset, its folder or URL.
        consumers: For whom, of ``CONSUMERS``, or ``all``.
        remove: Take away what was emitted for them.
        executor: Who reads the indexes of shards; without one it is done here.
        progress: Receives how many files are written.
        **choices: As of ``plan_emit``.

    Returns:
        How many files were written, linked and deleted.

    Raises:
        UsageError: As ``plan_emit``.
        StoreError: As ``plan_emit``, or a file to delete was changed since (``emitted-changed``).
        WdsError: The dataset could not be opened.
    """
    if remove:
        return apply(plan_emit_removal(dataset, consumers), executor=executor, progress=progress)
    return apply(plan_emit(dataset, consumers, executor=executor, **choices), executor=executor, progress=progress)


def plan_emit_removal(dataset: Dataset | StrPath, consumers: Iterable[Consumer]) -> EmitPlan:
    """Plan to delete what was emitted for some readers.

    Args:
        dataset: A dataset, its folder or URL.
        consumers: For whom, of ``CONSUMERS``, or ``all``.

    Returns:
        The plan.

    Raises:
        UsageError: There is no such reader.
        StoreError: A file was changed since it was emitted (``emitted-changed``): it stays.
        WdsError: The dataset could not be opened.
    """
    dataset = as_dataset(dataset)
    gone = _consumers(consumers)
    old = read_emitted(dataset.metadata, dataset.manifest)
    paths = sorted(path for path, (consumer, _) in old.files.items() if consumer in gone)
    digests = _still_ours(dataset, old, paths)
    digests |= torn_files(dataset.metadata, paths, lambda path, data: old.made(path, sha256_hex(data)))
    there = tuple(digests)
    files = {path: entry for path, entry in old.files.items() if path not in paths}
    writes: dict[str, bytes] = {}
    keys = old.card_keys
    if not files and old.card_keys:
        before = _card(dataset)
        digests |= {CARD_PATH: digest} if (digest := _digest(dataset, CARD_PATH)) is not None else {}
        after = plain_card(dataset.manifest, before, frozenset(old.card_keys))
        keys = ()
        if old.new_card and after.strip() == new_title(dataset.manifest).strip():
            there = (*there, CARD_PATH)
        elif after != before:
            writes[CARD_PATH] = after.encode()
    earlier = {path: digest for path, digest in old.earlier.items() if path in files}
    emitted = Emitted(old.root, files, keys, old.new_card, old.links, earlier) if files or keys else None
    if emitted is None:  # what is no link any more is not ours
        there = (*there, *(path for path in old.links if _is_our_link(dataset, path)))
    steps = [Step("delete", path) for path in there] + [Step("write", path, len(data)) for path, data in writes.items()]
    steps += _kept(old)
    if steps:
        steps.append(Step("write" if emitted else "delete", EMITTED_PATH))
    return EmitPlan(
        "emit --remove",
        dataset.metadata.url,
        tuple(steps),
        dataset=dataset,
        files=writes,
        deleted=there,
        emitted=emitted,
        under_way=old,
        before=digests,
    )


def _consumers(names: Iterable[str]) -> tuple[str, ...]:
    wanted = [part.strip() for name in names for part in name.split(",") if part.strip()]
    unknown = next((name for name in wanted if name not in (*CONSUMERS, "all")), None)
    if unknown is not None or not wanted:
        raise UsageError(
            "no such consumer", where=option("consumers"), expected=", ".join((*CONSUMERS, "all")), got=unknown or ""
        )
    return tuple(name for name in CONSUMERS if name in wanted or "all" in wanted)


def _files_for(
    dataset: Dataset, license_name: str | None, executor: Executor, consumer: str
) -> Iterable[tuple[str, bytes]]:
    manifest = dataset.manifest
    if consumer == "open_clip":
        yield from open_clip_files(manifest).items()
    elif consumer == "timm":
        yield from timm_files(manifest).items()
    elif consumer == "croissant":
        yield from croissant_files(manifest, license_name).items()
    elif consumer == "energon":
        yield from energon_files(manifest).items()
        yield from run_all(
            executor, offsets_file, [OffsetsTask(dataset, entry, consumer) for _, entry in manifest.shards]
        )
        yield ENERGON_DATABASE, energon_database(dataset)
    elif consumer in ("dali", "webshart"):
        yield from run_all(
            executor, offsets_file, [OffsetsTask(dataset, entry, consumer) for _, entry in manifest.shards]
        )


def _card(dataset: Dataset) -> str:
    try:
        return read_inside(dataset.metadata, CARD_PATH).decode()
    except NotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UsageError("the card is not UTF-8", where=CARD_PATH) from error


def _links(dataset: Dataset) -> Iterable[str]:
    """The shards to which links are needed; raises StoreError where something else has the name of one."""
    apart = dataset.manifest.profile == "foreign" and dataset.metadata.url != dataset.shards.url
    if not apart or not isinstance(dataset.shards, LocalStore):
        return
    for _, entry in dataset.manifest.shards:
        if (_there(dataset, entry.path) or _is_link(dataset, entry.path)) and not _is_our_link(dataset, entry.path):
            raise _in_the_way(entry.path)
        yield entry.path


def _is_link(dataset: Dataset, path: str) -> bool:
    return isinstance(dataset.metadata, LocalStore) and dataset.metadata.is_link(path)


def _is_our_link(dataset: Dataset, path: str) -> bool:
    """Whether a link leads to where the shard lies: no other one is ours."""
    metadata, shards = dataset.metadata, dataset.shards
    if not _is_link(dataset, path) or not isinstance(metadata, LocalStore) or not isinstance(shards, LocalStore):
        return False
    return os.readlink(metadata.locate(path)) == os.path.abspath(shards.locate(path))


def _digest(dataset: Dataset, path: str) -> str | None:
    """The SHA-256 of what lies there; None where nothing does."""
    try:
        return sha256_hex(get_whole(dataset.metadata, path, _MAX_FILE_BYTES))
    except NotFoundError:
        return None


def _still_ours(dataset: Dataset, old: Emitted, paths: Iterable[str]) -> dict[str, str]:
    """The digests of those of the emitted files that are there; raises StoreError where somebody has changed one."""
    found = {path: digest for path in paths if (digest := _digest(dataset, path)) is not None}
    for path, digest in found.items():
        if not old.made(path, digest):
            raise _changed(path)
    return found


def _kept(old: Emitted) -> list[Step]:
    return [Step("keep", path, detail="on the list of another version: not known to be emitted") for path in old.others]


def _there(dataset: Dataset, path: str) -> bool:
    try:
        dataset.metadata.head(path)
    except NotFoundError:
        return False
    return True


def _differs(dataset: Dataset, path: str, data: bytes, old: Emitted) -> bool:
    """Whether a file must be written; raises StoreError where another's is in the way."""
    there = _digest(dataset, path)
    if there is None:
        return True
    same = there == sha256_hex(data)
    if not same and path != CARD_PATH and not old.made(path, there):
        raise _changed(path) if path in old.files else _in_the_way(path)
    return not same


def _changed(path: str) -> StoreError:
    return StoreError(
        "an emitted file was changed since: it stays as it is",
        code="emitted-changed",
        where=path,
        hint="move it away or delete it; then run the same command again",
    )


def _in_the_way(path: str) -> StoreError:
    return StoreError(
        "a file that wdstools did not write is in the way",
        code="file-in-the-way",
        where=path,
        hint="move it away; it is not overwritten",
    )
