"""Existing WebDataset shards as a source: their samples are repacked into clean shards, without re-encoding."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, cast

from wdstools.errors import FormatError, NotFoundError, UsageError, option
from wdstools.foreign.split_names import gaps, splits_of_paths
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES, loads
from wdstools.formats.sample import split_member_name
from wdstools.formats.tar_names import encoding_of, is_compressed, plain_name
from wdstools.results import Skip
from wdstools.sources.base import Listing, is_text, shown
from wdstools.sources.beside_tars import beside_tars
from wdstools.sources.ignoring import is_ignored
from wdstools.sources.members import MemberChoice
from wdstools.sources.readers import ArchiveOpener, ArchiveReader
from wdstools.sources.shardlist import ShardList
from wdstools.sources.source_words import kind_of
from wdstools.sources.tarscan import scan_compressed, scan_tar
from wdstools.sources.unpacked import find_tars
from wdstools.stores.folders import walk
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from wdstools.formats.manifest import Manifest
    from wdstools.options.pack import LayoutChoices
    from wdstools.sources.base import SourceOpener, SourceReader
    from wdstools.sources.beside_tars import BesideTars
    from wdstools.sources.tarscan import TarMember
    from wdstools.stores.base import Store

_MAX_OPEN = 256  # well below the usual limit on open files


class ShardsSource:
    """A folder of plain tars (or one) in WebDataset form. Splits come from the manifest, or from paths (``foreign/split_names.py``).

    ``adopted`` is the manifest of tars that are in another place. ``captions`` is one of CAPTION_POLICIES; by default a
    sample needs a caption if others have one. ``members`` says which members to take; those left out are counted.
    A sample without a caption member takes its caption from its ``json``; ``caption_column`` is its name there.
    ``prefix_keys="shard"`` puts the name of its tar before every key. A sample whose members are not adjacent is joined.
    """

    def __init__(
        self,
        path: str,
        adopted: Manifest | None = None,
        *,
        captions: str | None = None,
        members: MemberChoice | None = None,
        prefix_keys: str | None = None,
        ignore: Sequence[str] = (),
        caption_column: str | None = None,
    ) -> None:
        self.path = path.rstrip("/") or "/"
        self._adopted = adopted
        self._captions = captions
        self._members = members or MemberChoice()
        self._prefixed = prefix_keys == "shard"
        self._ignore = tuple(ignore)
        self._caption_column = caption_column

    def _with_names(self, tars: Sequence[str]) -> tuple[Sequence[str], Sequence[Skip]]:
        """The tars with valid names, and skips for the others; raises NotFoundError if there are no valid ones."""
        kept = [tar for tar in tars if is_text(tar)]
        odd = [Skip("name-not-utf8", shown(tar)) for tar in tars if not is_text(tar)]
        if not kept:
            raise NotFoundError(
                "no tar here has a valid name",
                code="source-empty",
                where=self.path,
                got=odd[0].path,
                hint="names must be UTF-8: rename it",
            )
        return kept, odd

    def list(self) -> Listing:
        """List the samples from the headers; of the payloads only ``cls``, and ``json`` with captions, are read."""
        root, store, there = self._place()
        manifest = self._adopted or (_manifest(store) if root == self.path else None)
        taken = [tar for tar in there if not is_ignored(tar, self._ignore)]
        if not taken:
            got = "all tars are ignored" if there else ""
            raise NotFoundError("no tars here", code="source-empty", where=self.path, got=got)
        tars, odd = self._with_names(taken)
        splits = splits_of_paths(tars)
        listed = {plain_name(entry.path): split for split, entry in manifest.shards} if manifest else {}
        found = ShardList(
            store,
            {**splits.of, **listed},
            manifest,
            self._members,
            self._captions,
            self._prefixed,
            self._caption_column,
        )
        found.skips += odd
        damaged = [error for tar in tars if (error := found.add_or_skip(tar)) is not None]
        if not found and damaged:
            raise damaged[0]
        if not found:
            raise NotFoundError(
                "no samples with images in these tars",
                code="source-empty",
                where=self.path,
                hint=f"to pack samples that only have text: {option('members', 'txt')}",
            )
        if self._caption_column is not None and not found.holds_captions:
            raise UsageError(
                "no json of these samples has a caption with this name",
                code="table-columns",
                where=option("caption_column"),
                got=self._caption_column,
            )
        samples, labels, members = found.finish()
        listing = Listing(
            opener=self._opener(root),
            samples=samples,
            labels=labels,
            captions=found.policy if "txt" in members else "none",
            caption_key=self._caption_column,
            label_in_key=False,
            recipe="shards",
            template=self._template(),
            name=manifest.name if manifest else "",
            version=manifest.version if manifest else 1,
            members=members,
            image_types=dict(sorted(found.types.items())),
            skips=tuple(found.skips),
            unmatched=dict(sorted(found.unmatched.items())),
            differences=(
                *splits.told(),
                *(f"numbers are missing between the shards: {gap}" for gap in gaps(tars)),
                *sorted(found.told),
            ),
            account=found.account(samples),
        )
        return self._beside(root).added_to(listing) if root == self.path else listing

    def _place(self) -> tuple[str, Store, Sequence[str]]:
        """The folder of the tars, its store, and the tars; the given path is the folder or a tar in it."""
        if os.path.isdir(self.path):
            return self.path, LocalStore(self.path), list(find_tars(self.path))
        root = os.path.dirname(self.path) or "."
        return root, LocalStore(root), [os.path.basename(self.path)]

    def _opener(self, root: str) -> SourceOpener:
        return ShardsOpener(root)

    def _beside(self, root: str) -> BesideTars:
        return beside_tars(root, self._ignore)

    def _template(self) -> dict[str, str]:
        """The chosen options, for provenance."""
        chosen = {
            "captions": self._captions,
            "caption_column": self._caption_column,
            "members_missing": self._members.missing if self._members.missing != "skip" else None,
            "prefix_keys": "shard" if self._prefixed else None,
            "renamed": ",".join(f"{name}={source}" for name, source in self._members.renamed),
        }
        return {name: value for name, value in chosen.items() if value}


def layout_of(template: Mapping[str, str], members: Sequence[str]) -> LayoutChoices:
    """The options with which shards were packed to these members besides the image, from provenance."""
    renamed = dict(entry.split("=", 1) for entry in template.get("renamed", "").split(",") if entry)
    names = [*members, *(name for name in renamed if name not in members)]
    chosen = {
        name: template[name]
        for name in ("captions", "caption_column", "members_missing", "prefix_keys")
        if name in template
    }
    found: LayoutChoices = cast(
        "LayoutChoices",
        {**chosen, "members": [f"{name}={renamed[name]}" if name in renamed else name for name in names]},
    )
    return found


def is_shards(path: str) -> bool:
    """Whether a path is for ShardsSource: a dataset, a folder with tars of samples, or a tar of samples."""
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, MANIFEST_PATH)):
            return True
        first = _first_shard(path)
        if first is None:
            return False
        loose = next(_loose_images(path), None)
        if loose is not None:
            raise UsageError(
                "this folder has both shards and loose images",
                code="source-ambiguous",
                where=path,
                got=f"{first} and {loose}",
                hint=f"name the layout of the images with {option('recipe')} or {option('image')}, "
                "or move the tars to another folder",
            )
        return True
    return encoding_of(path) is not None and _looks_like_shard(path)


def _first_shard(path: str) -> str | None:
    """The first tar of a folder with samples in it, among the first few. Raises FormatError if none of these can be read."""
    damage: FormatError | None = None
    looked = 0
    for tar in find_tars(path):
        try:
            if _looks_like_shard(os.path.join(path, tar)):
                return tar
            looked += 1
        except FormatError as error:
            damage = damage or error
        if looked >= _MOST_LOOKED_AT:
            return None
    if damage is not None and not looked:
        raise damage
    return None


#: How many tars are looked at: a shard may be empty, or have only leftovers.
_MOST_LOOKED_AT = 16


def _loose_images(root: str) -> Iterator[str]:
    for folder, folders, names in walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(folder, root)
        yield from (
            os.path.join(below, n) for n in names if n.rpartition(".")[2].lower() in TYPE_OF_EXTENSION and n[0] != "."
        )


def _looks_like_shard(path: str) -> bool:
    return looks_like_shard(scan_compressed(path) if is_compressed(path) else scan_tar(path))


def looks_like_shard(members: Iterable[TarMember]) -> bool:
    """Whether members of one key are adjacent: an image, a sound, a video or an array with its text, class or json."""
    keys: Counter[str] = Counter()
    extensions = set()
    for number, member in enumerate(members):
        split = split_member_name(member.name) if member.is_file else None
        if split is not None:
            keys[split[0]] += 1
            extensions.add(split[1].rpartition(".")[2].lower())
        if number >= 64:
            break
    together = sum(count > 1 for count in keys.values())
    kinds = {kind_of(f"x.{extension}") for extension in extensions}
    return not kinds.isdisjoint(_PAYLOADS) and (
        together * 2 >= len(keys) or (extensions <= set(TYPE_OF_EXTENSION) and "/" not in "".join(keys))
    )


#: The kinds of members of a shard other than texts.
_PAYLOADS = ("images", "sound and video", "arrays")


def _manifest(store: Store) -> Manifest | None:
    try:
        return loads(get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES))
    except NotFoundError:
        return None


def tar_of(path: str, is_tar: Callable[[str], bool]) -> str:
    """The tar in a path; folders above it and inside it may be named like tars too."""
    end = path.find("/")
    while end > 0:
        if encoding_of(path[:end]) == "tar" and is_tar(path[:end]):
            return path[:end]
        end = path.find("/", end + 1)
    raise UsageError("there is no tar in this path", where=path)


class ShardsOpener(ArchiveOpener):
    """Reads members of the tars of one folder."""

    def open(self) -> ShardsReader:  # type: ignore[override]  # the same protocol over many archives
        """A reader."""
        return ShardsReader(self.path)


class ShardsReader:
    """Reads members by ``TAR/...`` path; keeps the tars open."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: dict[str, SourceReader] = {}
        #: The tar of the last read, with a slash, and its reader: nearly always the next read is of the same one.
        self._last: tuple[str, SourceReader] | None = None

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        """See SourceReader."""
        return self._reader(path).read_into(path, entry, view)

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        """See SourceReader."""
        return self._reader(path).stat(path, entry)

    def _reader(self, path: str) -> SourceReader:
        if self._last is not None and path.startswith(self._last[0]):
            return self._last[1]
        tar = tar_of(path, self._is_tar)
        reader = self._open.get(tar)
        if reader is None:
            if len(self._open) >= _MAX_OPEN:
                self.close()
            reader = self._open[tar] = ArchiveReader(f"{self._root}/{tar}")
        self._last = f"{tar}/", reader
        return reader

    def _is_tar(self, path: str) -> bool:
        return path in self._open or not os.path.isdir(f"{self._root}/{path}")

    def close(self) -> None:
        """Close every tar."""
        for reader in self._open.values():
            reader.close()
        self._open, self._last = {}, None
