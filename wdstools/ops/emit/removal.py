"""Remove emitted files, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.dataset import as_dataset
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.interop.emitted import EMITTED_PATH, Emitted, read_emitted
from wdstools.interop.huggingface import new_title, plain_card
from wdstools.interop.torn import torn_files
from wdstools.ops.emit.consumers import consumers_of
from wdstools.ops.emit.run import EmitPlan
from wdstools.ops.emit.there import card_of, digest_of, is_our_link, kept_steps, refuse_only_read, still_ours
from wdstools.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath
    from wdstools.options.move import Consumer


def plan_emit_removal(dataset: Dataset | StrPath, consumers: Iterable[Consumer]) -> EmitPlan:
    """Plan to delete the files emitted for some readers.

    Args:
        dataset: A dataset, its folder or URL.
        consumers: For which readers of ``CONSUMERS``, or ``all``.

    Returns:
        The plan.

    Raises:
        UsageError: There is no such reader.
        StoreError: A file has been changed since it was emitted (``emitted-changed``): it stays.
        WdsError: The dataset could not be opened.
    """
    refuse_only_read(dataset)
    dataset = as_dataset(dataset)
    gone = consumers_of(consumers)
    old = read_emitted(dataset.metadata, dataset.manifest)
    paths = sorted(path for path, (consumer, _) in old.files.items() if consumer in gone)
    digests = still_ours(dataset, old, paths)
    digests |= torn_files(dataset.metadata, paths, lambda path, data: old.made(path, sha256_hex(data)))
    there = tuple(digests)
    files = {path: entry for path, entry in old.files.items() if path not in paths}
    writes: dict[str, bytes] = {}
    keys = old.card_keys
    if not files and old.card_keys:
        before = card_of(dataset)
        digests |= {CARD_PATH: digest} if (digest := digest_of(dataset, CARD_PATH)) is not None else {}
        after = plain_card(dataset.manifest, before, frozenset(old.card_keys))
        keys = ()
        if old.new_card and after.strip() == new_title(dataset.manifest).strip():
            there = (*there, CARD_PATH)
        elif after != before:
            writes[CARD_PATH] = after.encode()
    earlier = {path: digest for path, digest in old.earlier.items() if path in files}
    emitted = Emitted(old.root, files, keys, old.new_card, old.links, earlier) if files or keys else None
    if emitted is None:  # what is no longer a link is not ours
        there = (*there, *(path for path in old.links if is_our_link(dataset, path)))
    steps = [Step("delete", path) for path in there] + [Step("write", path, len(data)) for path, data in writes.items()]
    steps += kept_steps(old)
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
