"""mirror: copy a dataset to another place and prove it there without a download; one root per prefix, manifest last."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING, Unpack

from wdstools.dataset import CLAIM_PATH, PACK_CLAIM_PATH, Dataset, as_dataset
from wdstools.errors import BusyError, FormatError, NotFoundError, StoreError, TransientError, UsageError, option
from wdstools.executors.open import executor_or_here, workers
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES, loads
from wdstools.interop.huggingface import emitted_card
from wdstools.landing.inside import read_inside, refuse_own_place, refuse_read_only, require_inside
from wdstools.ops.canonical import require_canonical
from wdstools.ops.mirror.files import PROBE_PATH, emitted_files, extra_files, wanted_files
from wdstools.ops.mirror.hub import HubMirrorPlan, compare_tree, look, open_hub, require_local
from wdstools.ops.mirror.run import MirrorPlan, MirrorResult
from wdstools.options.declare import settle
from wdstools.options.move import MirrorChoices
from wdstools.plan import Step, apply
from wdstools.progress import Progress, Silent, under_way
from wdstools.stores.base import ObjectInfo
from wdstools.stores.limited import Limited, Rate
from wdstools.stores.open import open_store, remote
from wdstools.stores.reading import get_whole
from wdstools.transfer.compare import CompareTask, ObjectState, Wanted, compare_object, listing
from wdstools.transfer.known import KnownDigests
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wdstools.executors.base import Executor
    from wdstools.formats.manifest import Manifest
    from wdstools.options.declare import StrPath
    from wdstools.stores.base import RemoteStore, Store

_PROBE_ATTEMPTS = 4


def plan_mirror(
    dataset: Dataset | StrPath,
    target: StrPath | Store,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[MirrorChoices],
) -> MirrorPlan:
    """Compare a dataset with what is at ``target``; only the manifest there is downloaded.

    Args:
        dataset: A dataset, its folder or URL.
        target: A folder, URL or store.
        executor: Does the comparing; without one, this process does.
        progress: Receives the number of files compared.
        **choices: What may be replaced and deleted; see ``MirrorChoices``.

    Returns:
        The plan, with the state of each file.

    Raises:
        UsageError: The dataset is a manifest alone, or emitted files are asked for and there are none (``not-emitted``).
        StoreError: Another dataset is there (``another-dataset``), or a newer version (``newer-version``), or storage
            could not be read.
        IntegrityError: The dataset's checksum list is damaged, or it is another dataset than the one with the given
            ``root`` (``root-differs``).
    """
    chosen = settle(MirrorChoices, choices)
    hub = _hub_in(target)
    dataset = as_dataset(dataset).anchor(chosen["root"])
    if dataset.manifest_key != MANIFEST_PATH:
        raise UsageError(
            "a mirror can only be made from a whole dataset, not from a manifest alone",
            where=dataset.metadata.url,
            expected=f"a folder or URL with {MANIFEST_PATH}",
        )
    require_canonical(
        dataset.manifest,
        dataset.metadata.url,
        "these tars were not written by wdstools; copy them yourself, and check the copy with verify --at",
    )
    if hub:
        return _plan_hub(dataset, hub, chosen)
    if chosen["create"] or chosen["private"]:
        raise UsageError(
            "only the Hub has repositories that can be created",
            where=option("create"),
            expected="hf://datasets/OWNER/NAME",
        )
    store = remote(open_store(os.fspath(target)) if isinstance(target, str | os.PathLike) else target)
    if isinstance(target, str | os.PathLike):
        refuse_own_place(dataset, store.url)
    if chosen["limit_rate"] is not None:
        store = Limited(store, Rate(chosen["limit_rate"]))
    replaced, theirs = _other(dataset, store, replace=chosen["replace"], allow_older=chosen["allow_older"])
    wanted = wanted_files(dataset, emitted_files(dataset) if chosen["emitted"] else [])
    if "://" not in store.url:
        require_inside(store.url, [file.path for file in wanted])
    found = listing(store)
    _refuse_packing(store, found or {})
    believed = _refuses_wrong_checksums(store)
    known = KnownDigests(dataset)
    tasks = list(_tasks(dataset, store, wanted, found, believed, known))
    states = _compare(tasks, store.url, known, executor_or_here(executor), progress or Silent())
    extra = _extra(found or {}, wanted, dataset, theirs)
    published = states[-1].state == "same"
    claimed = CLAIM_PATH in (found or {})
    if not (chosen["replace"] or claimed):
        _refuse_taken(store, states)
    counts, sizes = _sums(states, extra)
    return MirrorPlan(
        verb="mirror",
        target=store.url,
        steps=tuple(_steps(states, extra if chosen["delete"] else (), replaced, claimed=claimed)),
        source=dataset,
        store=store,
        files=tuple(states),
        counts=counts,
        sizes=sizes,
        extra=extra,
        replaced=replaced,
        published=published,
        claimed=claimed,
        take_over=chosen["replace"],
        delete=chosen["delete"],
        believed=believed,
    )


def _hub_in(target: StrPath | Store) -> str:
    """The URL of a repository on the Hub; empty for another place. Raises UsageError for a read-only place."""
    address = os.fspath(target) if isinstance(target, str | os.PathLike) else ""
    if address.startswith("hf://"):
        return address
    refuse_read_only(address, "mirror it to a bucket, a folder or hf://datasets/OWNER/NAME")
    return ""


def _extra(
    found: Mapping[str, ObjectInfo], wanted: Sequence[Wanted], dataset: Dataset, theirs: Manifest | None
) -> tuple[ObjectInfo, ...]:
    """The files in the other place, in the split folders of either dataset, that are not wanted there."""
    folders = {split for manifest in (dataset.manifest, theirs) if manifest for split in manifest.splits}
    return extra_files(found, {file.path for file in wanted}, folders)


def _sums(states: Sequence[ObjectState], extra: Sequence[ObjectInfo]) -> tuple[dict[str, int], dict[str, int]]:
    """The number of files in each state, and their bytes."""
    counts, sizes = Counter(state.state for state in states), Counter({"extra": sum(info.bytes for info in extra)})
    for state in states:
        sizes[state.state] += state.wanted.bytes
    return {**counts, "extra": len(extra)}, dict(sizes)


def _plan_hub(dataset: Dataset, url: str, chosen: MirrorChoices) -> HubMirrorPlan:
    """The plan for a repository, where a commit replaces claim, order and probe."""
    require_local(dataset)
    if chosen["limit_rate"] is not None:
        raise UsageError(
            "uploads to the Hub are done by its own library, which has no rate limit",
            where=option("limit_rate", chosen["limit_rate"]),
        )
    hub = open_hub(url)
    parent, found = look(hub, create=chosen["create"])
    store = remote(hub)
    replaced, theirs = None, None
    if parent:
        replaced, theirs = _other(dataset, store, replace=chosen["replace"], allow_older=chosen["allow_older"])
    old = read_inside(dataset.metadata, CARD_PATH).decode("utf-8", "replace")
    card = emitted_card(dataset, old, frozenset(), None).encode()
    wanted = [
        Wanted(file.path, len(card), {"sha256": sha256_hex(card)}) if file.path == CARD_PATH else file
        for file in wanted_files(dataset, emitted_files(dataset) if chosen["emitted"] else [])
    ]
    states = compare_tree(dataset, found, wanted, card)
    if not chosen["replace"]:
        _refuse_taken(store, states)
    infos = {path: ObjectInfo(path, file.bytes) for path, file in found.items()}
    extra = _extra(infos, wanted, dataset, theirs)
    counts, sizes = _sums(states, extra)
    return HubMirrorPlan(
        verb="mirror",
        target=hub.url,
        steps=tuple(_steps(states, extra if chosen["delete"] else (), None, claimed=False)),
        source=dataset,
        store=store,
        files=tuple(states),
        counts=counts,
        sizes=sizes,
        extra=extra,
        replaced=replaced,
        published=states[-1].state == "same",
        claimed=False,
        take_over=chosen["replace"],
        delete=chosen["delete"],
        believed=True,
        hub=hub,
        parent=parent,
        private=chosen["private"],
        card=card,
    )


def _refuse_packing(store: RemoteStore, found: Mapping[str, ObjectInfo]) -> None:
    """Refuse a place to which another dataset is being packed."""
    if PACK_CLAIM_PATH in found:
        raise BusyError(
            "there is an unfinished pack to this place",
            code="pack-unfinished",
            where=store.url,
            hint="finish it with the same pack command, or mirror to another prefix; nothing was changed",
        )


def _refuse_taken(store: RemoteStore, states: Sequence[ObjectState]) -> None:
    """Refuse a place without a dataset and without our claim in which other files have our files' names."""
    taken = [state.wanted.path for state in states if state.state in ("different", "unverifiable")]
    if taken and states[-1].state == "missing":
        raise StoreError(
            "other files have the names of this dataset's files",
            code="object-exists",
            where=store.url,
            got=some_of(taken),
            hint=f"mirror to another prefix, or add {option('replace', True)} to overwrite them; nothing was changed",
        )


def _other(
    dataset: Dataset, store: RemoteStore, *, replace: bool, allow_older: bool
) -> tuple[str | None, Manifest | None]:
    """Root and manifest of another dataset at the target, if it may be replaced; (None, None) if there is none."""
    try:
        data = get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES)
    except NotFoundError as error:
        if error.code == "bucket-missing":
            raise
        return None, None
    root = sha256_hex(data)
    if root == dataset.root:
        return None, None
    try:
        theirs = loads(data, where=f"{store.url}/{MANIFEST_PATH}")
    except FormatError:
        theirs = None
    version = theirs.version if theirs else -1
    if not replace:
        on_hub = store.url.startswith("hf://")
        meanwhile = "the repository's history keeps it" if on_hub else "it is absent until the new one is complete"
        raise StoreError(
            "another dataset, or another version of this one, is already there; a prefix can hold only one",
            code="another-dataset",
            where=store.url,
            expected=f"root {dataset.root}, version {dataset.manifest.version}",
            got=f"root {root}, version {version if theirs else 'not readable'}",
            hint=f"add {option('replace', True)} ({meanwhile}), or mirror to another prefix",
        )
    if version > dataset.manifest.version and not allow_older:
        raise StoreError(
            "the dataset there is newer than this one",
            code="newer-version",
            where=store.url,
            expected=f"version {dataset.manifest.version} or older",
            got=f"version {version}",
            hint=f"add {option('allow_older', True)} to go back",
        )
    return root, theirs


def _refuses_wrong_checksums(store: RemoteStore) -> bool:
    """Whether the store verifies checksums; if it accepts wrong bytes, they are deleted again."""
    for attempt in range(_PROBE_ATTEMPTS):
        try:
            refused = store.put_wrong(PROBE_PATH)
            break
        except TransientError:
            if attempt == _PROBE_ATTEMPTS - 1:
                raise
        except StoreError as error:
            if error.code in ("store-cannot", "denied", "read-only"):
                return False
            raise
    if not refused:
        with contextlib.suppress(NotFoundError):
            store.delete(PROBE_PATH)
    return refused


def _tasks(
    dataset: Dataset,
    store: RemoteStore,
    wanted: list[Wanted],
    found: Mapping[str, ObjectInfo] | None,
    believed: bool,
    known: KnownDigests,
) -> Iterator[CompareTask]:
    for file in wanted:
        md5 = known.md5(file.digests["sha256"])
        noted = Wanted(file.path, file.bytes, {**file.digests, "md5": md5}) if md5 else file
        there = found.get(file.path) if found is not None else None
        yield CompareTask(dataset, store, noted, there, found is not None, believed, known.etag(store.url, file))


def _compare(
    tasks: list[CompareTask], where: str, known: KnownDigests, executor: Executor, progress: Progress
) -> list[ObjectState]:
    """The state of each file; identical files are noted even if another file cannot be compared."""
    states: dict[int, ObjectState] = {}
    try:
        with under_way(progress, "compare", len(tasks), "files") as tick:
            for outcome in executor.map(compare_object, tasks, tick):
                state = states[outcome.index] = outcome.result()
                if state.state == "same":
                    known.note(where, state.wanted, "", state.computed)
    finally:
        known.save()
    return [states[index] for index in range(len(states))]


def _steps(
    states: Iterable[ObjectState], extra: Iterable[ObjectInfo], replaced: str | None, *, claimed: bool
) -> Iterator[Step]:
    if replaced is not None:
        yield Step("delete", MANIFEST_PATH, detail=f"of root {replaced[:16]}; from then on there is no dataset there")
    for state in states:
        if state.state != "same" and not (replaced is not None and state.wanted.path == MANIFEST_PATH):
            detail = ": ".join(part for part in (state.state, state.detail) if part)
            yield Step("upload", state.wanted.path, state.wanted.bytes, None, detail)
        elif state.state != "same":
            yield Step("upload", MANIFEST_PATH, state.wanted.bytes, None, "last")
    for info in extra:
        yield Step("delete", info.key, detail="extra")
    if claimed:
        yield Step("delete", CLAIM_PATH, detail="left by a mirror that was stopped")


def mirror(
    dataset: Dataset | StrPath,
    target: StrPath | Store,
    *,
    executor: Executor | None = None,
    jobs: int = 4,
    progress: Progress | None = None,
    **choices: Unpack[MirrorChoices],
) -> MirrorResult:
    """Copy a dataset to ``target``: ``plan_mirror``, applied. Calling it again transfers nothing.

    Shards are sent first and the manifest last: until then there is no dataset there. The store's own digests prove what
    it holds. Calling it again resumes an interrupted mirror.

    Args:
        dataset: A dataset, its folder or URL.
        target: A folder, URL or store.
        executor: Does the work; without one, ``jobs`` threads do, which end with the call.
        jobs: How many threads to start.
        progress: Receives the number of bytes sent.
        **choices: As for ``plan_mirror``.

    Returns:
        What was sent, and which files the store cannot prove.

    Raises:
        UsageError: As ``plan_mirror``.
        BusyError: Another mirror is writing to the same place.
        IntegrityError: A local file is damaged, or was damaged on its way each time.
        StoreError: As ``plan_mirror``, or storage could not be written.
    """
    with workers(executor, "threads", jobs) as at_work:
        plan = plan_mirror(dataset, target, executor=at_work, progress=progress, **choices)
        return apply(plan, executor=at_work, progress=progress)
