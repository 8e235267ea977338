"""The samples of many tars as one table: which member is the image, the caption or the class, and which are further members."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable  # an alias is made of it
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import FormatError, UsageError, option
from wdstools.foreign.member_meaning import CAPTION_EXTENSIONS, class_of, kind_of, label_of
from wdstools.foreign.samples import TarSample, read_samples
from wdstools.foreign.window import RangeWindow
from wdstools.formats.arrow import kept, one_chunk, to_list, valid
from wdstools.formats.image_types import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.formats.sample import is_key, make_key
from wdstools.formats.tarextension import SPARSE_ADVICE
from wdstools.results import Skip
from wdstools.sources.account import OUTSIDE, files_of
from wdstools.sources.base import SamplesBuilder, entry_part, image_paths, text_columns
from wdstools.sources.members import choose_members, why_class_left
from wdstools.sources.rare_class import class_left_out, without_class
from wdstools.sources.readers import reading, tar_entry
from wdstools.sources.sidecar import caption_in_json
from wdstools.sources.tarscan import damage_skip, refuse_damage, told_of
from wdstools.sources.unsaid_splits import inner_splits
from wdstools.stores.local import LocalStore
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from wdstools.foreign.samples import TarContents
    from wdstools.formats.manifest import Manifest
    from wdstools.sources.members import MemberChoice
    from wdstools.stores.base import Store

_IMAGE_TYPES = list(dict.fromkeys(TYPE_OF_EXTENSION.values()))
_MAX_CLASS_BYTES = 160
_PROBED_DOCUMENTS = 8
#: Marks a sample whose caption is in its ``json``.
_FROM_JSON = "from json"
_ANY_LENGTH = 1 << 30
#: The prefix for a second image without a dot in its extension: in a dataset only one image is named by its type.
_SECOND = "second."


#: Reads bytes of a tar, given offset and size.
Payload = Callable[[int, int], bytes]


@contextlib.contextmanager
def payloads(store: Store, tar: str) -> Iterator[Payload]:
    """Reads small payloads of a plain tar: from a file one by one, from remote storage with read-ahead."""
    if isinstance(store, LocalStore):
        with store.opened(tar) as file:
            yield lambda offset, size: os.pread(file.fileno(), size, offset)
    else:
        yield RangeWindow(store, tar).read


@dataclass(frozen=True, slots=True)
class Roles:
    """Which extensions of a tar's samples are the image and the caption, if none has a plain name."""

    image: str | None = None
    caption: str | None = None
    #: Whether the ``json`` of samples has captions.
    in_json: bool = False

    @classmethod
    def of(cls, extensions: Counter[str], choice: MemberChoice) -> Roles:
        """The requested extension, or the only dotted one if there is none without a dot. Raises UsageError if there are several."""
        image = next((found for kind in STORABLE_TYPES if (found := choice.source_of(kind))), None)
        if image is None and not any(extension in TYPE_OF_EXTENSION for extension in extensions):
            dotted = sorted(extension for extension in extensions if kind_of(extension) == "image")
            if len(dotted) > 1:
                raise UsageError(
                    "the samples have several images, none of them with a plain extension",
                    code="image-ambiguous",
                    expected="one extension without a dot, such as jpg",
                    got=", ".join(dotted),
                    hint=f"say which one is the image: {option('members', f'jpg={dotted[0]},' + ','.join(dotted[1:]))}",
                )
            image = dotted[0] if dotted else None
        caption = choice.source_of("txt")
        if caption is None and not any(extension in CAPTION_EXTENSIONS for extension in extensions):
            texts = [extension for extension in extensions if extension.rpartition(".")[2] in CAPTION_EXTENSIONS]
            caption = texts[0] if len(texts) == 1 else None
        return cls(image, caption)

    def image_of(self, members: Mapping[str, object]) -> str | None:
        """A sample's image: the one the user named, else the one without a dot, jpg before others."""
        if self.image is not None:
            return self.image if self.image in members else None
        own = [extension for extension in members if extension in TYPE_OF_EXTENSION]
        return min(own, key=lambda extension: (_rank(extension), extension), default=None)

    def caption_of(self, members: Mapping[str, object]) -> str | None:
        """A sample's caption."""
        if self.caption is not None:
            return self.caption if self.caption in members else None
        return next((extension for extension in CAPTION_EXTENSIONS if extension in members), None)


def _rank(extension: str) -> int:
    """The rank of an image's type: types that need no conversion come first."""
    return _IMAGE_TYPES.index(TYPE_OF_EXTENSION[extension])


@dataclass(slots=True)
class _Found:
    """Samples of one kind: with an image, or without one. ``skips`` belong to these samples."""

    builder: SamplesBuilder = field(default_factory=SamplesBuilder)
    skips: list[Skip] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    further: Counter[str] = field(default_factory=Counter)
    without_caption: list[Skip] = field(default_factory=list)


@dataclass(slots=True)
class ShardList:
    """Lists tars one by one. ``splits`` has the split of each; ``prefixed`` puts the tar's name before every key.

    If no sample has an image, the samples without one are the dataset, provided they have more than text.
    """

    store: Store
    splits: Mapping[str, str]
    manifest: Manifest | None
    choice: MemberChoice
    captions: str | None
    prefixed: bool
    caption_key: str | None = None
    skips: list[Skip] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    unmatched: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    #: The number of tar entries by class; the rest belong to samples or are skipped.
    counts: Counter[str] = field(default_factory=Counter)
    #: Whether captions are in ``json``.
    holds_captions: bool = False
    _pictured: _Found = field(default_factory=_Found)
    _plain: _Found = field(default_factory=_Found)

    def add_or_skip(self, tar: str) -> FormatError | None:
        """List one tar; a damaged one is recorded as skipped, and its error returned."""
        try:
            self.add(tar)
        except FormatError as error:
            self.skips.append(damage_skip(tar, error, self.splits.get(tar)))
            self.counts["files"] += 1
            self.told[f"{tar} is left out: {error.message}"] += 1
            return error
        return None

    def add(self, tar: str) -> None:
        """List one tar. Raises FormatError, StoreError, UsageError."""
        path = f"{self.store.url}/{tar}"
        with reading(path):
            contents = read_samples(self.store, tar, repeated="apart" if self.prefixed else "join")
        refuse_damage(contents.notes, path, self.store, tar)
        self._note(tar, contents)
        self.skips += inner_splits(tar, self.splits.get(tar), (sample.key for sample in contents.samples))
        roles = Roles.of(Counter(e for sample in contents.samples for e in sample.members), self.choice)
        runs: dict[tuple[bool, bool, str | None], list[dict[str, object]]] = {}
        keys: set[str] = set()
        with reading(path), payloads(self.store, tar) as payload:
            roles = replace(roles, in_json=self._captions_in_json(contents.samples, roles, payload))
            self._tell_roles(roles)
            for sample in contents.samples:
                found = self._sample(tar, sample, roles, payload)
                if found is not None:
                    label, values = found
                    values["key"] = self._key(tar, sample.key, keys)
                    from_json = bool(values.pop(_FROM_JSON, False))
                    runs.setdefault(("image_entry" in values, from_json, label), []).append(values)
        for (pictured, from_json, label), values_of in runs.items():
            parts = sorted({part for values in values_of for part, value in values.items() if value is not None})
            shared = {"split": self.splits.get(tar), "label": label, "id_dir": "", "image_dir": tar}
            if from_json:
                shared |= {"caption_dir": tar, "caption_suffix": ".json"}
                shared |= {"json_dir": tar, "json_suffix": ".json"} if self.choice.takes("json") else {}
            kind = self._pictured if pictured else self._plain
            kind.builder.add(shared, {part: [values.get(part) for values in values_of] for part in parts})

    def _captions_in_json(self, samples: list[TarSample], roles: Roles, payload: Payload) -> bool:
        """Whether the ``json`` of samples without a caption member has captions, judged by the first of them."""
        if self.captions == "none" or not self.choice.takes("txt"):
            return False
        given = self.caption_key is not None
        asked = (
            s.members["json"] for s in samples if "json" in s.members and (given or roles.caption_of(s.members) is None)
        )
        for offset, size in islice(asked, _PROBED_DOCUMENTS):
            try:
                if caption_in_json(payload(offset, size), "x.json", self.caption_key) is not None:
                    return True
            except ValueError:
                continue
        return False

    @property
    def policy(self) -> str:
        """The policy for a sample whose ``json`` has no caption though that of others does."""
        return self.captions or "required"

    def _note(self, tar: str, contents: TarContents) -> None:
        """Record entries that belong to no sample, and anything odd about the tar."""
        split = self.splits.get(tar)
        self.counts["files"] += contents.files
        for code, name, kind in contents.left:
            if code == "name-without-extension":
                self.unmatched[""] += 1
                self.counts["outside"] += 1
                self.skips.append(Skip(OUTSIDE, f"{tar}/{name}", split))
            elif code == "name-hidden":
                self.counts["hidden"] += 1
            else:
                detail = SPARSE_ADVICE if code == "member-sparse" else kind
                self.skips.append(Skip(code, f"{tar}/{name}", split, detail=detail or None))
        for name in contents.replaced:
            detail = "the last member of this name was taken, as tar does"
            self.skips.append(Skip("member-duplicate", f"{tar}/{name}", split, detail=detail))
        self.told.update(told_of(contents.notes, tar))

    def _tell_roles(self, roles: Roles) -> None:
        for extension, member in ((roles.image, "image"), (roles.caption, "caption")):
            if extension is not None:
                self.told[f"members called {extension} are packed as the samples' {member}"] += 1
        if roles.in_json:
            self.holds_captions = True
            self.told["captions are taken from the samples' json"] += 1

    def _sample(
        self, tar: str, sample: TarSample, roles: Roles, payload: Payload
    ) -> tuple[str | None, dict[str, object]] | None:
        """The label and the columns of a sample; None if it cannot be packed."""
        members, split, path = sample.members, self.splits.get(tar), f"{tar}/{sample.key}"
        image, text = roles.image_of(members), roles.caption_of(members)
        found = self._plain if image is None else self._pictured
        values: dict[str, object] = {"stem": sample.key, "image_suffix": ""}
        if image is not None:
            head, _, kind = image.rpartition(".")
            values["stem"] = f"{sample.key}.{head}" if head else sample.key
            values["image_suffix"], values["image_entry"] = f".{kind}", tar_entry(*members[image])
        label = None
        if "cls" in members and self.choice.takes("cls"):
            offset, size = members["cls"]
            word = payload(offset, min(size, _MAX_CLASS_BYTES))
            values["cls"], label = self._class(word)
            if values["cls"] is None and label is None:
                found.skips.append(Skip("cls-not-integer", f"{path}.cls", split, detail=repr(word[:40])))
                return None
            values["cls_entry"] = tar_entry(offset, size)
            found.seen["cls"] += 1
        missing = Skip("caption-missing", f"{path}.{image}" if image else path, split)
        self._add_texts(found, values, sample, roles, missing)
        used = {image, text, "cls", "json"}
        known = {"txt": text, "cls": "cls", "json": "json"}
        self.counts["ignored"] += sum(
            extension in members and (not self.choice.takes(name) or (name == "txt" and self.captions == "none"))
            for name, extension in known.items()
        )
        for extension in members.keys() - used:
            name = self._further_name(extension)
            values[entry_part(name)] = tar_entry(*members[extension])
            found.further[name] += 1
        return label, values

    def _class(self, payload: bytes) -> tuple[int | None, str | None]:
        """The number of a class, and its label."""
        number = class_of(payload)
        labels = self.manifest.labels if self.manifest else ()
        if number is not None:
            return number, labels[number] if number < len(labels) else None
        return None, label_of(payload)

    def _add_texts(
        self, found: _Found, values: dict[str, object], sample: TarSample, roles: Roles, missing: Skip
    ) -> None:
        members, text = sample.members, roles.caption_of(sample.members)
        if roles.in_json and "json" in members and (text is None or self.caption_key is not None):
            values["caption_entry"], values[_FROM_JSON] = tar_entry(*members["json"]), True
            found.seen["txt"] += 1
            self.counts["ignored"] += text is not None
        elif text is not None and self.captions != "none" and self.choice.takes("txt"):
            values["caption_entry"] = tar_entry(*members[text])
            found.seen["txt"] += 1
        elif text is None:
            found.without_caption.append(missing)
        if "json" in members and self.choice.takes("json"):
            values["json_entry"] = tar_entry(*members["json"])
            found.seen["json"] += 1

    def _further_name(self, extension: str) -> str:
        """The name of a member that is neither image, caption, class nor json."""
        given = next((name for name, source in (self.choice.wanted or {}).items() if source == extension), None)
        if given is not None:
            return given
        if TYPE_OF_EXTENSION.get(extension) in STORABLE_TYPES:
            self.told[
                f"members called {extension}, next to the samples' images, are packed as {_SECOND}{extension}"
            ] += 1
            return _SECOND + extension
        return extension

    def _key(self, tar: str, name: str, keys: set[str]) -> str:
        """A valid key stays as it is; any other is made valid, but not shortened: that happens once the members are known."""
        if self.prefixed:
            name = f"{tar.rpartition('.tar')[0]}/{name}"
        raw, number = name.encode(), 1
        key = name if is_key(raw) else make_key(None, raw, _ANY_LENGTH).decode()
        while self.prefixed and key in keys:
            number += 1
            key = make_key(None, b"%b_%d" % (raw, number), _ANY_LENGTH).decode()
        keys.add(key)
        return key

    def __bool__(self) -> bool:
        """Whether there is anything to pack."""
        return bool(self._pictured.builder) or self._without_images

    @property
    def _without_images(self) -> bool:
        """Whether samples without images are the dataset; those with text alone only if requested by name."""
        plain = self._plain
        asked = set(self.choice.wanted or ())
        return not self._pictured.builder and bool(plain.builder) and bool(plain.further or asked & set(plain.seen))

    def finish(self) -> tuple[pa.Table, tuple[str, ...], tuple[str, ...]]:
        """Everything listed: the table, its labels, and the members besides the image, in tar order."""
        found = self._plain if self._without_images else self._pictured
        self.skips += found.skips
        samples = found.builder.table()
        if found is self._plain:
            self.told["no sample has an image: samples are packed without one"] += 1
        elif self._plain.builder:
            plain = self._plain.builder.table()
            paths, splits = image_paths(plain), text_columns(plain, ("split",))[0]
            self.skips += [Skip("image-missing", path, split) for path, split in zip(paths, splits, strict=True)]
        samples, labels = self._labels(samples)
        if self.captions == "required" or (self.captions is None and found.seen["txt"]):
            samples = self._only_with(samples, "caption_entry", found.without_caption)
        samples, labels = self._rare_class_left(samples, labels)
        held = {name: _count(samples, entry_part(name)) for name in found.further}
        chosen = choose_members(held, samples.num_rows, self.choice)
        for name, (count, why) in chosen.left.items():
            self.skips.append(Skip("member-left-out", f"*.{name}", detail=f"in {counted(count, 'sample')}: {why}"))
        asked = [name for name in found.further if name not in chosen.kept and name not in chosen.left]
        self.counts["ignored"] += sum(found.further[name] for name in asked)
        samples = samples.drop_columns([entry_part(name) for name in found.further if name not in chosen.kept])
        for name in chosen.kept if self.choice.missing == "skip" else ():
            samples = self._only_with(samples, entry_part(name), None)
        suffixes = Counter(to_list(samples.column("image_suffix")))
        for suffix, count in sorted(suffixes.items()) if found is self._pictured else ():
            self.types[TYPE_OF_EXTENSION[suffix[1:]]] += count
        parts = {"txt": "caption_entry", "cls": "cls_entry", "json": "json_entry"}
        members = tuple(m for m in parts if found.seen[m] and (m == "txt" or _count(samples, parts[m])))
        return samples, labels, (*members, *chosen.kept)

    def account(self, samples: pa.Table) -> dict[str, int]:
        """The account of the tars' entries, if these samples are packed."""
        packed, rest = files_of(samples), {name: self.counts[name] for name in ("outside", "ignored", "hidden")}
        skipped = self.counts["files"] - packed - sum(rest.values())
        return {"files": self.counts["files"], "samples": packed, "read": 0, "skipped": skipped, **rest}

    def _rare_class_left(self, samples: pa.Table, labels: tuple[str, ...]) -> tuple[pa.Table, tuple[str, ...]]:
        """The samples and labels, without the class if only few samples have one: the others would be skipped."""
        count = _count(samples, "cls_entry")
        why = why_class_left(count, samples.num_rows, self.choice)
        if why is None:
            return samples, labels
        self.skips.append(class_left_out(count, why))
        return without_class(samples), ()

    def _only_with(self, samples: pa.Table, part: str, known: list[Skip] | None) -> pa.Table:
        """The samples that have a member; the others are skipped."""
        there = part in samples.column_names
        keep = valid(one_chunk(samples.column(part))) if there else np.zeros(samples.num_rows, bool)
        if keep.all():
            return samples
        lost = kept(samples, ~keep)
        if known is not None:
            self.skips += known
        else:
            name = part.partition(":")[2]
            splits = text_columns(lost, ("split",))[0]
            self.skips += [
                Skip("member-missing", path, split, detail=f"no {name}: --members-missing empty keeps it")
                for path, split in zip(image_paths(lost), splits, strict=True)
            ]
        return kept(samples, keep)

    def _labels(self, samples: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
        """The labels if classes are words; if others are numbers, samples with words are skipped."""
        if self.manifest is not None and self.manifest.labels:
            return samples, self.manifest.labels
        named = valid(one_chunk(samples.column("label")))
        if not named.any():
            return samples, ()
        numbers = "cls" in samples.column_names and valid(one_chunk(samples.column("cls"))).any()
        if not numbers:
            return samples, tuple(sorted({label for label in to_list(samples.column("label")) if label is not None}))
        odd = kept(samples, named)
        for path, split, label in zip(image_paths(odd), *text_columns(odd, ("split", "label")), strict=True):
            self.skips.append(Skip("cls-not-integer", path, split, detail=repr(label.encode())))
        return kept(samples, ~named), ()


def _count(samples: pa.Table, part: str) -> int:
    """How many samples have a part."""
    column = samples.column(part) if part in samples.column_names else None
    return 0 if column is None else len(column) - column.null_count
