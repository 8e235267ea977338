"""What the small files of a dataset should hold: provenance, list of skips, checksum list, card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.checks.metadata import few_bits_apart, read_list, undo_flipped_bit
from wdstools.errors import FormatError, SourceChangedError
from wdstools.formats.card import CARD_PATH, card_differences, mend_card, render_card
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.landing.inside import refuse_outside
from wdstools.landing.small_files import checksum_list, is_history
from wdstools.ops.repair.copies import read_or_none
from wdstools.results import Finding
from wdstools.stores.local import DurableFile
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wdstools.ops.repair.copies import Copy
    from wdstools.ops.repair.truth import Truth
    from wdstools.stores.base import Store
    from wdstools.stores.local import LocalStore


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A small file to write: its content, and where that comes from."""

    path: str
    data: bytes
    origin: str

    @property
    def bytes(self) -> int:
        """Its size."""
        return len(self.data)

    def put(self, store: LocalStore) -> None:
        """Write it."""
        store.put(self.path, self.data)


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file to copy unchanged, block by block, so that it is never in memory whole."""

    path: str
    sha256: str
    bytes: int
    copy: Store

    @property
    def origin(self) -> str:
        """Where it comes from."""
        return self.copy.url

    def put(self, store: LocalStore) -> None:
        """Write it; raises SourceChangedError if the copy has changed since the plan was made."""
        digest = hashlib.sha256()
        with DurableFile(store.locate(self.path)) as out:
            for block in read_blocks(self.copy, self.path):
                digest.update(block)
                out.write(block)
            if (got := digest.hexdigest()) != self.sha256:
                raise SourceChangedError(
                    "a file in a copy changed while the dataset was being repaired",
                    where=f"{self.copy.url}/{self.path}",
                    expected=f"sha256 {self.sha256}",
                    got=f"sha256 {got}",
                    hint="run the same command again",
                )


#: How the dataset was made: small files that only the checksum list proves.
_HISTORY = (PROVENANCE_PATH, SKIPPED_PATH)


def mend_history(store: LocalStore, copies: Sequence[Copy], truth: Truth) -> tuple[list[SmallFile], list[Finding]]:
    """Replacements for provenance and list of skips if they differ from the checksum list; findings for what no copy has."""
    listed = _trusted_lists(store, copies, truth)
    files: list[SmallFile] = []
    unsolved: list[Finding] = []
    for path in _HISTORY:
        wanted = [digests[path] for digests in listed if path in digests]
        own = read_or_none(store, path)
        if own is None and not wanted and path == SKIPPED_PATH:
            continue  # nothing was skipped
        if own is not None and (sha256_hex(own) in wanted if wanted else is_history(own)):
            continue
        found = next(_attempts(path, own, wanted, copies), None)
        if found is not None:
            files.append(found)
        elif own is None or not any(few_bits_apart(sha256_hex(own), digest) for digest in wanted):
            kind = "missing" if own is None else "provenance" if path == PROVENANCE_PATH else "skipped"
            unsolved.append(Finding(kind, path, "no copy has it", expected=next(iter(wanted), None), cause="no-copy"))
    return files, unsolved


def _trusted_lists(store: LocalStore, copies: Sequence[Copy], truth: Truth) -> list[dict[str, str]]:
    """Checksum lists of this dataset: those of copies with the same manifest, and its own unless it names another manifest."""
    lists = []
    for copy in copies:
        data = copy.file(SUMS_PATH)
        try:
            listed = {line.path: line.digest for line in parse_sums(data)} if data else {}
        except FormatError:
            continue
        if listed.get(MANIFEST_PATH) == truth.manifest.root:
            lists.append(listed)
    own = read_list(store)[0]
    named = own.get(MANIFEST_PATH, truth.manifest.root)
    if not lists or few_bits_apart(named, truth.manifest.root):
        lists.insert(0, own)
    return lists


def _attempts(path: str, own: bytes | None, wanted: list[str], copies: Sequence[Copy]) -> Iterator[SmallFile]:
    for copy in copies:
        data = copy.file(path)
        if data is not None and (sha256_hex(data) in wanted or not wanted):
            yield SmallFile(path, data, copy.name)
    for digest in wanted if own is not None else ():
        mended = undo_flipped_bit(own or b"", digest)
        if mended is not None:
            yield SmallFile(path, mended, "undoing one bit")


def mend_card_file(store: LocalStore, copies: Sequence[Copy], truth: Truth) -> SmallFile | None:
    """The card with the parts that wdstools writes put right; None if they already are."""
    refuse_outside(store, (CARD_PATH,))
    manifest, own = truth.manifest, read_or_none(store, CARD_PATH)
    if own is None:
        for copy in copies:
            data = copy.file(CARD_PATH)
            if data is not None and not card_differences(data.decode("utf-8", "replace"), manifest):
                return SmallFile(CARD_PATH, data, copy.name)
        return SmallFile(CARD_PATH, render_card(manifest).encode(), "the manifest")
    text = own.decode("utf-8", "replace")
    if own == text.encode() and not card_differences(text, manifest):
        return None
    for copy in copies:  # a card as long as a copy's is that card with damaged bytes
        data = copy.file(CARD_PATH)
        if (
            data is not None
            and len(data) == len(own)
            and not card_differences(data.decode("utf-8", "replace"), manifest)
        ):
            return SmallFile(CARD_PATH, data, copy.name)
    return SmallFile(CARD_PATH, mend_card(text, manifest).encode(), "the manifest")


def render_list(
    store: LocalStore, truth: Truth, index_digests: Mapping[str, str], unsolved: Iterable[Finding]
) -> SmallFile | None:
    """The checksum list that a dataset should have; None if it has it.

    A file that could not be repaired keeps its expected digest, so that checks report it until it is whole.
    """
    sums = {entry.path: entry.sha256 for _, entry in truth.manifest.shards} | dict(index_digests)
    lost = {one.path: one.expected for one in unsolved if one.path in _HISTORY}
    held = {path: read_or_none(store, path) for path in _HISTORY if path not in lost}
    files = {MANIFEST_PATH: truth.data, **{path: data for path, data in held.items() if data is not None}}
    data = checksum_list(files, sums | {path: digest for path, digest in lost.items() if digest is not None})
    return None if data == read_or_none(store, SUMS_PATH) else SmallFile(SUMS_PATH, data, "the files")
