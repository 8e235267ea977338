"""emit: the files that other readers need, placed so that they do not break each other. They never change the root."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

from wdstools.dataset import Dataset, as_dataset
from wdstools.errors import UsageError
from wdstools.executors.open import executor_or_here
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.interop.emitted import EMITTED_PATH, Emitted, read_emitted
from wdstools.interop.huggingface import emitted_card, written_keys
from wdstools.interop.torn import torn_files
from wdstools.ops.emit.consumers import consumers_of, files_for
from wdstools.ops.emit.removal import plan_emit_removal
from wdstools.ops.emit.run import EmitPlan, EmitResult
from wdstools.ops.emit.there import (
    card_of,
    digest_of,
    is_our_link,
    is_there,
    kept_steps,
    links_needed,
    must_write,
    refuse_only_read,
    still_ours,
)
from wdstools.options.declare import settle
from wdstools.options.move import Consumer, EmitChoices
from wdstools.plan import Step, apply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.executors.base import Executor
    from wdstools.options.declare import StrPath
    from wdstools.progress import Progress


def plan_emit(
    dataset: Dataset | StrPath,
    consumers: Iterable[Consumer],
    *,
    executor: Executor | None = None,
    **choices: Unpack[EmitChoices],
) -> EmitPlan:
    """Plan the files that other readers need, in addition to what is there; the root digest does not change.

    The card is always written, because it keeps Hugging Face from reading the files for other readers. If tars are not in
    the same place as their manifest, nothing is written next to them: links to them in the manifest's folder make it one
    that every reader can open.

    Args:
        dataset: A dataset, its folder or URL.
        consumers: For which readers of ``CONSUMERS``, or ``all``.
        executor: Reads the indexes of shards; without one, this process does.
        **choices: What to put into the files; see ``EmitChoices``.

    Returns:
        The plan, with the contents of the files.

    Raises:
        UsageError: There is no such reader, or it cannot read this dataset.
        StoreError: A file that wdstools did not write is in the way (``file-in-the-way``), or one that it wrote has been
            changed since (``emitted-changed``): it stays.
        WdsError: The dataset could not be opened.
    """
    license_name = settle(EmitChoices, choices)["license_name"]
    refuse_only_read(dataset)
    dataset = as_dataset(dataset)
    wanted = consumers_of(consumers)
    if dataset.manifest_key != MANIFEST_PATH:
        raise UsageError(
            "files for other readers go next to the manifest in a dataset's folder, and this is a manifest alone",
            where=dataset.metadata.url,
            expected=f"a folder or URL with {MANIFEST_PATH}",
        )
    old = read_emitted(dataset.metadata, dataset.manifest)
    files_of = partial(files_for, dataset, license_name, executor_or_here(executor))
    made = {path: (consumer, data) for consumer in wanted for path, data in files_of(consumer)}
    card_before = card_of(dataset)
    ours = frozenset(old.card_keys)
    card = emitted_card(dataset, card_before, ours, license_name).encode()
    kept = {path: entry for path, entry in old.files.items() if entry[0] not in wanted}
    files = kept | {path: (consumer, sha256_hex(data)) for path, (consumer, data) in made.items()}
    whole = {path: data for path, (_, data) in made.items()} | {CARD_PATH: card}
    writes = {path: data for path, data in whole.items() if must_write(dataset, path, data, old)}
    gone = still_ours(dataset, old, sorted(path for path in old.files if path not in files))
    torn = torn_files(dataset.metadata, whole, lambda path, data: whole[path].startswith(data))
    before = gone | torn | {path: digest for path in writes if (digest := digest_of(dataset, path)) is not None}
    stale = (*gone, *torn)
    emitted = Emitted(
        dataset.root,
        dict(sorted(files.items())),
        tuple(sorted(written_keys(card_before, ours))),
        old.new_card or not card_before,
        tuple(sorted(links_needed(dataset))),
        {path: digest for path, digest in old.earlier.items() if path in kept},
    )
    stale += tuple(path for path in old.links if path not in emitted.links and is_our_link(dataset, path))
    under_way = replace(
        emitted,
        files=emitted.files | {path: old.files[path] for path in gone},
        earlier=emitted.earlier
        | {path: digest for path, digest in before.items() if path in files and path in old.files},
    )
    links = tuple(path for path in emitted.links if not is_there(dataset, path))
    if not writes and not stale and not links and old == emitted:
        return EmitPlan("emit", dataset.metadata.url, (), dataset=dataset, emitted=emitted)
    steps = [
        Step("write", path, len(data), detail=made.get(path, ("huggingface", b""))[0]) for path, data in writes.items()
    ]
    steps += [Step("link", path, detail=f"to the shard in {dataset.shards.url}") for path in links]
    steps += [*(Step("delete", path) for path in stale), *kept_steps(old)]
    steps += [Step("write", EMITTED_PATH, len(emitted.dumps()), detail="the list of emitted files")]
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
    """Write the files that other readers need, or remove them: ``plan_emit`` or ``plan_emit_removal``, applied.

    Args:
        dataset: A dataset, its folder or URL.
        consumers: For which readers of ``CONSUMERS``, or ``all``.
        remove: Remove the files emitted for them.
        executor: Reads the indexes of shards; without one, this process does.
        progress: Receives the number of files written.
        **choices: As for ``plan_emit``.

    Returns:
        How many files were written, linked and deleted.

    Raises:
        UsageError: As ``plan_emit``.
        StoreError: As ``plan_emit``, or a file to delete has been changed since (``emitted-changed``).
        WdsError: The dataset could not be opened.
    """
    if remove:
        return apply(plan_emit_removal(dataset, consumers), executor=executor, progress=progress)
    return apply(plan_emit(dataset, consumers, executor=executor, **choices), executor=executor, progress=progress)
