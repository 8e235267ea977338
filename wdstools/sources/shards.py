"""Existing WebDataset shards as a source: their samples, re-packed clean and without re-encoding."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, UsageError
from wdstools.foreign.dots import dotted_heads, with_head
from wdstools.foreign.splits import gaps, splits_of_paths
from wdstools.foreign.window import encoding_of
from wdstools.formats.manifest import MANIFEST_PATH, loads
from wdstools.formats.sample import is_key, make_key, split_member_name
from wdstools.images.check import TYPE_OF_EXTENSION
from wdstools.results import Skip
from wdstools.sources.base import Listing, SamplesBuilder, SourceReader, is_text, shown
from wdstools.sources.readers import ArchiveOpener, ArchiveReader, tar_entry
from wdstools.sources.tarscan import TarMember, scan_compressed, scan_tar
from wdstools.sources.unpacked import find_tars, is_compressed, plain_name
from wdstools.stores.folders import walk
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.formats.manifest import Manifest

_TEXT_EXTENSIONS = ("txt", "caption", "text")
_MAX_CLS_DIGITS = 9  # what an int32 column holds
_MAX_OPEN = 256  # well below the usual limit of open files


class ShardsSource:
    """A folder of plain tars (or one) in WebDataset form. Splits come from the manifest, folders or file names.

    ``adopted`` is the manifest of tars that lie elsewhere than it does. Dots that belong to keys are told from those of
    extensions. Members that are no image, ``txt``, ``cls`` or ``json`` are left out and counted. A sample whose members lie
    apart is joined; a name without an extension is no sample.
    """

    def __init__(self, path: str, adopted: Manifest | None = None) -> None:
        self.path = path.rstrip("/") or "/"
        self._adopted = adopted

    def list(self) -> Listing:
        """List the samples by hopping over headers; of the payloads only ``cls`` is read."""
        root = self.path if os.path.isdir(self.path) else os.path.dirname(self.path) or "."
        manifest = self._adopted or (_manifest(root) if root == self.path else None)
        tars = list(find_tars(root)) if root == self.path else [os.path.basename(self.path)]
        if not tars:
            raise NotFoundError("no tars here", code="source-empty", where=self.path)
        splits = splits_of_paths(tars)
        scan = _ShardScan(root, manifest, splits.of)
        for tar in tars:
            scan.add(tar)
        if not scan.types:
            raise NotFoundError("no samples with images in these tars", code="source-empty", where=self.path)
        return Listing(
            opener=ShardsOpener(root),
            samples=scan.builder.table(),
            labels=manifest.labels if manifest else (),
            captions="optional" if scan.with_caption else "none",
            label_in_key=False,
            recipe="shards",
            template={},
            name=manifest.name if manifest else "",
            version=manifest.version if manifest else 1,
            members=tuple(m for m in ("txt", "cls", "json") if scan.seen[m]),
            image_types=dict(sorted(scan.types.items())),
            skips=tuple(scan.skips),
            unmatched=dict(sorted(scan.unmatched.items())),
            differences=(*splits.told(), *(f"numbers are missing between the shards: {gap}" for gap in gaps(tars))),
        )


def is_shards(path: str) -> bool:
    """Whether a path is for ShardsSource: a dataset, a folder whose tars hold samples, or a tar of samples."""
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, MANIFEST_PATH)):
            return True
        first = next(find_tars(path), None)
        if first is None or not _looks_like_shard(os.path.join(path, first)):
            return False
        loose = next(_loose_images(path), None)
        if loose is not None:
            raise UsageError(
                "this folder holds shards and loose images",
                code="source-ambiguous",
                where=path,
                got=f"{first} and {loose}",
                hint="name the layout of the images with --recipe or --image, or move the tars to a folder of their own",
            )
        return True
    return encoding_of(path) is not None and _looks_like_shard(path)


def _loose_images(root: str) -> Iterator[str]:
    for folder, folders, names in walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(folder, root)
        yield from (
            os.path.join(below, n) for n in names if n.rpartition(".")[2].lower() in TYPE_OF_EXTENSION and n[0] != "."
        )


def _looks_like_shard(path: str) -> bool:
    """Members of one key side by side: an image first met with a text, class or json of its own."""
    keys: Counter[str] = Counter()
    extensions = set()
    for number, member in enumerate(scan_compressed(path) if is_compressed(path) else scan_tar(path)):
        split = split_member_name(member.name) if member.is_file else None
        if split is not None:
            keys[split[0]] += 1
            extensions.add(split[1].rpartition(".")[2].lower())
        if number >= 64:
            break
    together = sum(count > 1 for count in keys.values())
    has_image = any(extension in TYPE_OF_EXTENSION for extension in extensions)
    return has_image and (
        together * 2 >= len(keys) or (extensions <= set(TYPE_OF_EXTENSION) and "/" not in "".join(keys))
    )


def _manifest(root: str) -> Manifest | None:
    try:
        return loads(LocalStore(root).get(MANIFEST_PATH))
    except NotFoundError:
        return None


class _ShardScan:
    """Groups the members of tars into samples."""

    def __init__(self, root: str, manifest: Manifest | None, splits: Mapping[str, str]) -> None:
        self.root = root
        self.builder = SamplesBuilder()
        self.skips: list[Skip] = []
        self.types: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.unmatched: Counter[str] = Counter()
        self._labels = manifest.labels if manifest else ()
        listed = {plain_name(entry.path): split for split, entry in manifest.shards} if manifest else {}
        self._splits = {**splits, **listed}
        self._heads: frozenset[str] = frozenset()

    @property
    def with_caption(self) -> bool:
        """Whether any sample has a caption."""
        return self.seen["txt"] > 0

    def add(self, tar: str) -> None:
        """List one tar."""
        path = os.path.join(self.root, tar)
        groups: dict[str, dict[str, TarMember]] = {}
        known: dict[str, TarMember] = {}
        members = list(scan_tar(path))
        self._heads = _heads_of_keys(members)
        for member in members:
            if member.kind == "hard link" and member.target in known:
                there = known[member.target]
                member = TarMember(member.name, there.offset, there.size)  # noqa: PLW2901  the file that it names
            self._member(tar, member, groups)
            known[member.name] = member
        runs: dict[str | None, dict[str, list[object]]] = {}
        with open(path, "rb", buffering=0) as file:
            for key, group in groups.items():
                self._sample(tar, key, group, file.fileno(), runs)
        for label, own in runs.items():
            shared = {"split": self._split_of(tar), "label": label, "id_dir": "", "image_dir": tar}
            self.builder.add(
                shared, {part: values for part, values in own.items() if any(v is not None for v in values)}
            )

    def _split_of(self, tar: str) -> str | None:
        return self._splits.get(tar)

    def _member(self, tar: str, member: TarMember, groups: dict[str, dict[str, TarMember]]) -> None:
        """Put a member to its sample, or say why not."""
        if member.kind == "folder":
            return
        path = f"{tar}/{shown(member.name)}"
        split = split_member_name(member.name.removeprefix("./"))
        if not member.is_file:
            self.skips.append(Skip("not-a-file", path, self._split_of(tar), detail=f"a {member.kind} in a tar"))
        elif not is_text(member.name):
            self.skips.append(Skip("name-not-utf8", path, self._split_of(tar)))
        elif split is None:
            self.unmatched[""] += 1
        else:
            split = with_head(*split, self._heads)
            group = groups.setdefault(split[0], {})
            if split[1].lower() in group:
                self.skips.append(Skip("member-duplicate", path, self._split_of(tar)))
            group.setdefault(split[1].lower(), member)

    def _sample(
        self, tar: str, key: str, group: dict[str, TarMember], fd: int, runs: dict[str | None, dict[str, list[object]]]
    ) -> None:
        image = next((extension for extension in group if extension in TYPE_OF_EXTENSION), None)
        if image is None:
            self.skips.append(Skip("image-missing", f"{tar}/{key}", self._split_of(tar)))
            return
        text = next((extension for extension in _TEXT_EXTENSIONS if extension in group), None)
        cls = None
        if "cls" in group:
            payload = os.pread(fd, min(group["cls"].size, _MAX_CLS_DIGITS), group["cls"].offset).strip()
            if not payload.isdigit() or group["cls"].size > _MAX_CLS_DIGITS:
                self.skips.append(
                    Skip("cls-not-integer", f"{tar}/{key}.cls", self._split_of(tar), detail=repr(payload))
                )
                return
            cls = int(payload)
        label = self._labels[cls] if cls is not None and cls < len(self._labels) else None
        own = runs.setdefault(
            label,
            {part: [] for part in ("stem", "key", "image_suffix", "image_entry", "caption_entry", "json_entry", "cls")},
        )
        place = {
            part: group.get(extension or "")
            for part, extension in (("image", image), ("caption", text), ("json", "json"))
        }
        values: dict[str, object] = {
            f"{part}_entry": tar_entry(m.offset, m.size) if m else None for part, m in place.items()
        }
        values |= {"stem": key, "key": _key_of(key), "image_suffix": f".{image}", "cls": cls}
        for part, value in values.items():
            own[part].append(value)
        self.types[TYPE_OF_EXTENSION[image]] += 1
        self.seen.update(("txt" if text else "", "cls" if cls is not None else "", "json" if "json" in group else ""))
        self.unmatched.update(e for e in group if e not in (image, text, "cls", "json"))


def _heads_of_keys(members: list[TarMember]) -> frozenset[str]:
    """The first parts of extensions that belong to keys, in one tar."""
    found = {split_member_name(member.name) for member in members if member.is_file}
    pairs = [pair for pair in found if pair is not None]
    return dotted_heads(Counter(extension for _, extension in pairs), len({key for key, _ in pairs}))


def _key_of(key: str) -> str:
    """A clean key stays as it is; any other is made one."""
    raw = key.encode()
    return key if is_key(raw) else make_key(None, raw).decode()


class ShardsOpener(ArchiveOpener):
    """Reads members of the tars of one folder."""

    def open(self) -> ShardsReader:  # type: ignore[override]  # the same protocol over many archives
        """A reader."""
        return ShardsReader(self.path)


class ShardsReader:
    """Reads members by ``TAR/...`` path; keeps the tars that it has met open."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: dict[str, SourceReader] = {}

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        """See SourceReader."""
        return self._reader(path).read_into(path, entry, view)

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        """See SourceReader."""
        return self._reader(path).stat(path, entry)

    def _reader(self, path: str) -> SourceReader:
        tar, found, _ = path.partition(".tar/")
        if not found:
            raise UsageError("a path without its tar", where=path)
        reader = self._open.get(tar)
        if reader is None:
            if len(self._open) >= _MAX_OPEN:
                self.close()
            reader = self._open[tar] = ArchiveReader(f"{self._root}/{tar}.tar")
        return reader

    def close(self) -> None:
        """Close every tar."""
        for reader in self._open.values():
            reader.close()
        self._open = {}
