"""The small files of a dataset's next version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError, StoreError
from wdstools.formats.card import CARD_PATH, mend_card, render_card
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import PROVENANCE_PATH, SKIPPED_PATH, Manifest, manifest_identity
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.landing.inside import read_inside
from wdstools.landing.small_files import assemble, read_provenance, render_provenance
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.ops.next_version.shard import Rewritten


@dataclass(frozen=True, slots=True)
class NextVersion:
    """What is new: the manifest, the small files with their content, and the shards, which are already written."""

    manifest: Manifest
    small: Mapping[str, bytes]
    shards: tuple[Rewritten, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that changes."""
        listed = {entry.path for _, entry in self.manifest.shards}
        shards = [one.entry for one in self.shards if one.entry.path in listed]
        return (*self.small, *(path for entry in shards for path in (entry.path, entry.index_path)))

    def put_small(self, work: str) -> None:
        """Write the small files below ``work``."""
        store = LocalStore(work)
        for path, data in self.small.items():
            store.put(path, data)


def next_version(manifest: Manifest, written: Sequence[Rewritten]) -> Manifest:
    """The manifest with these shards in place of the old ones."""
    new = {one.entry.path: one.entry for one in written}
    splits = {
        split: tuple(new.get(entry.path, entry) for entry in entries) for split, entries in manifest.splits.items()
    }
    return replace(manifest, version=manifest.version + 1, splits=splits)


def small_files(
    dataset: Dataset,
    manifest: Manifest,
    written: Sequence[Rewritten],
    change: Mapping[str, Any],
    more: Mapping[str, bytes] | None = None,
    said: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Manifest, provenance, checksum list and card of the new version.

    Args:
        dataset: The old version.
        manifest: The new version's manifest.
        written: The shards that have changed.
        change: What was done, for the history in provenance; the old version is recorded with it.
        more: Other small files that change, by path.
        said: What else provenance records from now on.
    """
    old = read_provenance(dataset.metadata)
    history = old.get("history")
    before = {"previous_root": dataset.root, "previous_version": dataset.manifest.version}
    provenance = {
        **old,
        **(said or {}),
        "dataset": manifest_identity(manifest),
        "history": [*(history if isinstance(history, list) else []), {**change, **before}],
    }
    files = {PROVENANCE_PATH: render_provenance(provenance), **(more or {})}
    there = {path for _, entry in manifest.shards for path in (entry.path, entry.index_path)} | {SKIPPED_PATH}
    sums = {path: digest for path, digest in _listed(dataset).items() if path in there}
    for one in written:
        sums |= {one.entry.path: one.entry.sha256, one.entry.index_path: one.index_sha256}
    return assemble(manifest, files, sums, _card(dataset, manifest))


def _listed(dataset: Dataset) -> dict[str, str]:
    """The current checksum list, with missing lines made again: for shards from the manifest, for indexes from the files."""
    known = {path for _, entry in dataset.manifest.shards for path in (entry.path, entry.index_path)}
    known |= {SKIPPED_PATH}
    try:
        listed = {line.path: line.digest for line in parse_sums(get_whole(dataset.metadata, SUMS_PATH))}
    except (StoreError, ValueError):
        listed = {}
    sums = {path: digest for path, digest in listed.items() if path in known}
    for _, entry in dataset.manifest.shards:
        sums[entry.path] = entry.sha256
        if entry.index_path not in sums:
            sums[entry.index_path] = sha256_hex(dataset.index_bytes(entry))
    return sums


def _card(dataset: Dataset, manifest: Manifest) -> bytes:
    try:
        return mend_card(read_inside(dataset.metadata, CARD_PATH).decode("utf-8", "replace"), manifest).encode()
    except NotFoundError:
        return render_card(manifest).encode()
