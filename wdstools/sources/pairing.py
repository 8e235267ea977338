"""One pass over the places of a layout, which pairs images with captions and metadata, folder by folder."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.foreign.split_names import narrower
from wdstools.formats.image_types import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.formats.sample import is_further_member
from wdstools.results import Skip
from wdstools.sources.account import Account
from wdstools.sources.base import SamplesBuilder, entry_part, is_text, join_path, path_part, shown
from wdstools.sources.boxes import BOXES, role_of
from wdstools.sources.columns import NOT_TEXT, NOT_TEXT_DETAIL, Said, settle
from wdstools.sources.parallels import is_member_file, member_called, owner_of
from wdstools.sources.several import CaptionFile, render_more
from wdstools.sources.side_files import Side, SideFolder, in_form, usual
from wdstools.sources.source_words import JSON_SUFFIXES, TEXT_SUFFIXES, is_image, kind_of
from wdstools.sources.tree import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wdstools.sources.further_members import Further
    from wdstools.sources.survey import Place
    from wdstools.sources.tree import Tree

#: ``post_1.jpg`` and ``post_2.jpg`` share the caption of their post, ``post.txt``.
_NUMBERED_RE = re.compile(r"(.+)_\d{1,3}")
#: How many folders of captions are cached: the names of a million files take memory.
_MOST_SIDES = 4


@dataclass(frozen=True, slots=True)
class Rules:
    """How a layout is read.

    ``captions`` is ``required``, ``optional`` or ``none``; ``stems`` returns stem and suffix of a folder's images; ``several``
    says what to do with several captions. ``sidecars``: captions are in files of their own; ``json``: metadata
    is, and ``json_captions``: it contains captions; ``shared``: images ``x_1`` and ``x_2`` may share the files of ``x``.
    ``lists``: the ``json`` member may list several captions; ``boxes``: the folders whose texts are boxes, not captions.
    """

    captions: str
    stems: Callable[[list[str]], list[tuple[str, str]]]
    several: str = "all"
    sidecars: bool = True
    json: bool = False
    json_captions: bool = False
    shared: bool = False
    lists: bool = True
    boxes: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """The files that belong to an image, and what tables say about it."""

    text: Side | None = None
    meta: Side | None = None
    said: Said | None = None
    #: Further files of captions, and of metadata.
    more: list[Side] = field(default_factory=list)
    more_meta: list[Side] = field(default_factory=list)
    boxes: Side | None = None

    @property
    def sides(self) -> list[Side]:
        """The files of the sample besides the image."""
        return [side for side in (self.text, self.meta, *self.more) if side is not None]

    @property
    def dirs(self) -> tuple[str | None, ...]:
        """The folder and suffix of each file."""
        text, meta = (side.place if side else (None, None) for side in (self.text, self.meta))
        return *text, *meta


_NOTHING_SAID = Said()
#: Folder, name, and place in an archive.
_File = tuple[str, str, bytes | None]


@dataclass(slots=True)
class Pairing:
    """One pass over a tree: pairs images with captions, place by place.

    ``rows`` is what tables say, by the path of the image, or by the result of ``row_name`` for its path and id; ``split_of`` the
    splits from lists, by id. Both are None if there are none.
    """

    tree: Tree
    rules: Rules
    rows: dict[str, Said] | None = None
    row_name: Callable[[str, str], str] | None = None
    table_name: str = "the table"
    split_of: dict[str, str] | None = None
    #: The split of each image, by path, if lists in the tree give it: an image in none of them is in no split.
    listed: dict[str, str] | None = None
    further: Further | None = None
    account: Account = field(default_factory=Account)
    builder: SamplesBuilder = field(default_factory=SamplesBuilder)
    skips: list[Skip] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    image_types: Counter[str] = field(default_factory=Counter)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    other_forms: int = 0
    #: Images whose row in a table gives another split than their folder.
    other_splits: list[str] = field(default_factory=list)
    #: Further members of skipped images, which stay outside the layout, by folder.
    _spare: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    #: The layouts of files that belong to images: kind, place, folder and suffix, with the number of files.
    forms: Counter[tuple[str, Place, str, str]] = field(default_factory=Counter)
    _at_hand: dict[str, SideFolder] = field(default_factory=dict)
    _side_folders: dict[str, tuple[str | None, tuple[str, ...]]] = field(default_factory=dict)
    _lists: bool = False
    _places: tuple[Place, ...] = ()
    _types: Counter[str] | None = None

    def run(
        self, places: Iterable[Place], more: Mapping[str, tuple[str | None, tuple[str, ...]]] | None = None
    ) -> None:
        """List everything in some places.

        ``more`` are folders of captions that may belong to no image, with their split and suffixes (none: the usual ones).
        """
        self._lists = any(len(said.captions) > 1 for said in (self.rows or {}).values())
        self._places = tuple(places)
        for place in self._places:
            held = self.tree.list(place.folder)
            if held is not None:
                self._place(place, held)
        self._at_hand.clear()
        if self.rules.sidecars and self.rules.captions != "none":
            for folder, (split, suffixes) in {**(more or {}), **self._side_folders}.items():
                self._orphans(folder, split, suffixes)
        for name, said in sorted((self.rows or {}).items()):
            self.skips.append(Skip("image-missing", shown(name), detail=f"named in {said.where or self.table_name}"))
        self.skips += [
            Skip("sample-missing", name, split, detail="in a split list, but no sample with this id can be packed")
            for name, split in sorted((self.split_of or {}).items())
        ]

    def _place(self, place: Place, held: Folder) -> None:
        images = self._images(place, held)
        further = self._further(place, held, images)
        sides = [(self._side(folder, held if folder == place.folder else None), given) for folder, given in place.sides]
        for folder, given in place.sides:
            self._side_folders.setdefault(folder, (place.split, given))
        runs: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
        taken: dict[tuple[str, str], list[str]] = {(place.folder, "samples"): []}
        rest = self._take_plain(place, held, (images, further), sides)
        for stem, ext in rest.items():
            found = self._beside((place.folder, stem, ext), images, sides)
            own = self._sample(place, stem, ext, found)
            kind = "skipped" if own is None else "samples"
            for side in found.sides:
                taken.setdefault((side.files.folder, kind), []).append(side.name)
            taken.setdefault((place.folder, kind), []).append(stem + ext)
            if own is None:
                continue
            entry = held.entry(stem + ext)
            if entry is not None:
                own["image_entry"] = entry
            if found.boxes is not None or stem in further:
                self._add_further(place, own, found, further.get(stem, {}))
            key = (own.pop("split"), own.pop("label"), found.dirs, tuple(own))
            run = runs.setdefault(key, {name: [] for name in own})
            for name, value in own.items():
                run[name].append(value)
        for (split, label, dirs, _), run in runs.items():
            self._add(place, (split, label), dirs, run)
        folders = {place.folder: held, **{side.folder: side.held for side, _ in sides if side}}
        for (folder, kind), names in (*sorted(taken.items()), *sorted(self._spare.items())):
            self.account.take(folder, folders[folder], names, kind)
        self._spare.clear()

    def _take_plain(
        self,
        place: Place,
        held: Folder,
        images: tuple[dict[str, str], Mapping[str, object]],
        sides: list[tuple[SideFolder | None, tuple[str, ...]]],
    ) -> dict[str, str]:
        """Add the images of a folder for which only the existence of the caption matters; returns the others.

        In most folders that is all of them. ``_beside`` and ``_sample`` would give the same result at ten times the cost.
        ``images`` are the images of the folder, and those of them with further members.
        """
        found, further = images
        side, suffix, types = self._only_side(sides, {*found.values()})
        if side is None:
            return found
        there = side.holds([stem + suffix for stem in found])
        if all(there) and not further and len(types) == len({*found.values()}):
            mine, rest = found, dict[str, str]()
        else:
            taken = [is_there and stem not in further for stem, is_there in zip(found, there, strict=True)]
            mine = {stem: ext for (stem, ext), take in zip(found.items(), taken, strict=True) if take and ext in types}
            rest = {stem: ext for stem, ext in found.items() if stem not in mine}
        if mine:
            own: dict[str, list[Any]] = {"stem": [*mine], "image_suffix": [*mine.values()]}
            files = {"image": (place.folder, held, [stem + ext for stem, ext in mine.items()])}
            files["caption"] = (side.folder, side.held, [stem + suffix for stem in mine])
            for part, (folder, files_there, names) in files.items():
                self.account.take(folder, files_there, names, "samples")
                if files_there.entries is not None:
                    own[f"{part}_entry"] = [*map(files_there.entry, names)]
            self._add(place, (place.split or None, None), (side.folder, suffix, None, None), own)
        return rest

    def _only_side(
        self, sides: list[tuple[SideFolder | None, tuple[str, ...]]], types: set[str]
    ) -> tuple[SideFolder | None, str, set[str]]:
        """The only folder and suffix that captions of these images can have, and the stems there; None if more must be looked at."""
        rules = self.rules
        simple = rules.sidecars and rules.captions != "none" and not (rules.json or rules.boxes or self._lists)
        if not simple or self.rows is not None or self.split_of is not None or self.listed is not None:
            return None, "", set()
        there: dict[str, list[tuple[SideFolder, str]]] = {ext: [] for ext in types}
        for ext in types:
            for side, given in sides:
                suffixes = side.there(given or usual(TEXT_SUFFIXES, ext)) if side is not None else ()
                there[ext] += [(side, suffix) for suffix in suffixes if side is not None]
        only = {found[0] for found in there.values() if len(found) == 1 and found[0][0].is_plain}
        if len(only) != 1:
            return None, "", set()
        side, suffix = only.pop()
        return side, suffix, {ext for ext, found in there.items() if found == [(side, suffix)]}

    def _further(self, place: Place, held: Folder, images: dict[str, str]) -> dict[str, dict[str, _File]]:
        """The further members of each image of a folder, by stem and member. Images that are such members are not samples."""
        if self.further is None:
            return {}
        beside = self.further.of_folder(held.files, images)
        for stem, (base, member) in self.further.apart(images).items():
            beside.setdefault(base, {}).setdefault(self.further.called(member), stem + images.pop(stem))
        found: dict[str, dict[str, _File]] = {
            stem: {member: (place.folder, name, held.entry(name)) for member, name in members.items()}
            for stem, members in beside.items()
        }
        for folder, word in place.parallels:
            there = self.tree.list(folder) or Folder()
            for name, entry in there.placed():
                owner = owner_of(name, word, images) if is_member_file(name) else None
                member = self.further.called(member_called(name, word))
                if owner is not None and is_further_member(member):
                    found.setdefault(owner, {}).setdefault(member, (folder, name, entry))
        return found

    def _add_further(self, place: Place, own: dict[str, Any], found: _Found, members: Mapping[str, _File]) -> None:
        """Add the further members of a sample, including boxes."""
        if found.boxes is not None and self.further is not None:
            file = (found.boxes.name, found.boxes.files.entry(found.boxes.name))
            members = {self.further.called(BOXES): (found.boxes.files.folder, *file), **members}
        for member, (folder, name, entry) in members.items():
            self._note_further(own, member, folder, (name, entry))
            if name.startswith(own["stem"]):
                self.forms[f"member {member}", place, folder, name[len(own["stem"]) :]] += 1

    def _note_further(self, own: dict[str, Any], member: str, folder: str, file: tuple[str, bytes | None]) -> None:
        assert self.further is not None
        name, entry = file
        self.further.files[member][folder].append(name)
        own[path_part(member) if entry is None else entry_part(member)] = (
            join_path(folder, name) if entry is None else entry
        )

    def _beside(
        self,
        image: tuple[str, str, str],
        images: Mapping[str, str],
        sides: list[tuple[SideFolder | None, tuple[str, ...]]],
    ) -> _Found:
        """The caption and metadata of an image, each from the first folder that has one."""
        found, (folder, stem, ext) = _Found(), image
        match = _NUMBERED_RE.fullmatch(stem) if self.rules.shared and "_" in stem else None
        names = (stem, match[1]) if match and match[1] not in images else (stem,)
        there = [(side, given) for side, given in sides if side is not None]
        for name in names if self.rules.sidecars else ():
            texts = [text for side, given in there for text in side.find(name, given or usual(TEXT_SUFFIXES, ext))]
            if self.rules.boxes:
                roles = ["" if text.files.folder == folder else role_of(text.files.folder) for text in texts]
                boxes = [text for text, role in zip(texts, roles, strict=True) if role in self.rules.boxes]
                found.boxes = boxes[0] if boxes else None
                texts = [text for text in texts if text not in boxes and self.rules.captions != "none"]
            if texts:
                found.text, *found.more = texts
                break
        for name in names if self.rules.json else ():
            metas = [meta for side, _ in there for meta in side.find(name, usual(JSON_SUFFIXES, ext))]
            if metas:
                found.meta, *found.more_meta = metas
                break
        if found.meta is None and self.rules.json:
            found.meta = next((meta for side, _ in there for meta in side.document_of(stem, ext)), None)
        return found

    def _side(self, folder: str, held: Folder | None) -> SideFolder | None:
        if not (self.rules.sidecars or self.rules.json):
            return None
        if folder not in self._at_hand:
            held = held or self.tree.list(folder)
            if held is None:
                return None
            if len(self._at_hand) >= _MOST_SIDES:
                self._at_hand.clear()
            self._at_hand[folder] = SideFolder(folder, held)
        return self._at_hand[folder]

    def _sample(self, place: Place, stem: str, ext: str, found: _Found) -> dict[str, Any] | None:
        """The parts of a sample that it does not share; None if it is skipped, which is recorded."""
        path, sample_id = join_path(place.folder, stem + ext), join_path(place.id_dir, stem)
        if self.rows is not None:
            found.said = self.rows.pop(path if self.row_name is None else self.row_name(path, sample_id), None)
        said = found.said or _NOTHING_SAID
        split = self._split_of(place, said, (path, sample_id))
        if place.label is not None and said.label is not None:
            said.more.setdefault("label", said.label)
        lists = self._lists and found.text is None
        caption, more = settle(said, self.rules.several, lists=lists) if self.rows is not None else (None, None)
        if self.rules.json_captions and found.text is None and (caption is None or (said.blank and not caption)):
            found.text = found.meta
        self._tell_odd(found, said)
        refused = self._refuse(found, (place, stem), split, caption)
        if refused is not None:
            self.skips.append(Skip(refused[0], path, split, detail=refused[1]))
            return None
        own: dict[str, Any] = {"split": split, "label": said.label, "stem": stem, "image_suffix": ext}
        if said.key is not None:
            own["key"] = said.key
        if found.more or found.more_meta or said.captions or self._lists:
            self._several(own, found, said, path)
        if caption is not None and found.text is None and self.rules.captions != "none":
            own["caption"] = caption
        if more is not None and found.meta is None:
            own["json"] = more
        self._note_sides(own, found)
        return own

    def _refuse(
        self, found: _Found, place: tuple[Place, str], split: str | None, caption: str | None
    ) -> tuple[str, str | None] | None:
        """The reason and detail if a sample is not packed; None if it is."""
        if split is None and (self.split_of is not None or self.listed is not None):
            return "split-not-listed", None
        if caption is not None and not is_text(caption):
            return "caption-not-utf8", "half of a character: a lone surrogate"
        if found.said is not None and found.said.refused is not None:
            return found.said.refused
        if found.text is None and caption is None and found.said is not None and found.said.odd:
            return (NOT_TEXT, f"{found.said.odd[0]}: {NOT_TEXT_DETAIL}") if self.rules.captions != "none" else None
        if found.text is None and caption is None and self.rules.captions == "required":
            return "caption-missing", self._looked_for(*place)
        return None

    def _tell_odd(self, found: _Found, said: Said) -> None:
        """Record rows without a usable caption for an image that has a caption from elsewhere."""
        if said.odd and (found.text is not None or said.captions) and self.rules.captions != "none":
            self.skips += [Skip(NOT_TEXT, shown(where), detail=NOT_TEXT_DETAIL) for where in said.odd]

    def _split_of(self, place: Place, said: Said, image: tuple[str, str]) -> str | None:
        """The split of an image, given by path and id: from lists of ids, lists of paths, its folder, or a table."""
        path, sample_id = image
        if self.split_of is not None:
            return self.split_of.pop(sample_id, None)
        if self.listed is not None:
            return self.listed.get(path)
        if (
            place.split is not None
            and said.split not in (None, place.split)
            and not narrower(place.split, said.split or "")
        ):
            self.other_splits.append(path)
        return place.split or said.split

    def _several(self, own: dict[str, Any], found: _Found, said: Said, image: str) -> None:
        """Keep captions beyond the first, or skip them if the sample has no place for them."""
        told = [] if found.text is None or self.rules.captions == "none" else said.captions
        others = [*found.more, *told]
        first, joined = self.rules.several == "first", self.rules.several == "join"
        listed = not first and not joined and found.meta is None and self.rules.lists
        if (others and (joined or listed)) or (listed and self._lists and found.text is not None):
            files = [CaptionFile(side.path, side.files.entry(side.name)) for side in found.more]
            own["more_captions"] = render_more([*files, *told])
        elif others and not first:
            why = f"{found.meta.path} is its json" if found.meta is not None else "json is left out"
            taken = found.text.path if found.text is not None else ""
            detail = f"{taken} is the caption of {image}, and {why}: --several-captions join keeps both, first the one"
            names = [*(side.path for side in found.more), *([said.where] if told else [])]
            self.skips += [Skip("caption-extra", name, own["split"], detail=detail) for name in names]
        if others and "more_captions" not in own:
            for side in found.more:
                self._spare[side.files.folder, "ignored" if first else "skipped"].append(side.name)
            found.more = []
        for side in found.more_meta:
            assert found.meta is not None
            detail = f"{found.meta.path} is the json of {image}"
            self.skips.append(Skip("json-extra", side.path, own["split"], detail=detail))
            self._spare[side.files.folder, "skipped"].append(side.name)

    def _note_sides(self, own: dict[str, Any], found: _Found) -> None:
        for part, side in (("caption", found.text), ("json", found.meta)):
            if side is not None:
                self._note_side(own, part, side)

    def _note_side(self, own: dict[str, Any], part: str, side: Side) -> None:
        entry = side.files.entry(side.name)
        if entry is not None:
            own[f"{part}_entry"] = entry
        if side.stem != own["stem"]:
            own[f"{part}_stem"] = side.stem
            self.other_forms += in_form(side.stem) == in_form(own["stem"])

    def _looked_for(self, place: Place, stem: str) -> str:
        if self.rows is not None and not self.rules.sidecars:
            return f"not in {self.table_name}"
        folder, suffixes = place.sides[-1] if place.sides else (place.folder, ())
        return f"no {join_path(folder, stem + (suffixes or TEXT_SUFFIXES)[0])}"

    def _images(self, place: Place, held: Folder) -> dict[str, str]:
        """Stem -> suffix of the images of a folder, sorted by name."""
        found = self.rules.stems(held.files)
        images = dict(found)
        if len(images) == len(found) and is_text(place.folder + "".join(images)):
            return images
        images = {}
        for stem, ext in sorted(found, key=lambda image: self._preference(place.folder, *image)):
            path = join_path(place.folder, stem + ext)
            if not is_text(place.folder + stem):
                self.skips.append(Skip("name-not-utf8", shown(path)))
            elif stem in images:
                row = self.rows.pop(path, None) if self.rows is not None and self.row_name is None else None
                named = f"; named in {row.where}" if row is not None else ""
                self.skips.append(Skip("key-duplicate", path, detail=f"same id as {stem + images[stem]}{named}"))
            else:
                images[stem] = ext
                continue
            self.account.take(place.folder, held, [stem + ext], "skipped")
        return images

    def _preference(self, folder: str, stem: str, ext: str) -> tuple[bool, bool, int, bool, int, str]:
        """The sort key among images with one id: named by a table, of a storable type, of the most common type, with the usual extension."""
        kind = TYPE_OF_EXTENSION[ext[1:].lower()]
        named = self.rows is not None and self.row_name is None and join_path(folder, stem + ext) in self.rows
        odd = ext != ext.lower()
        return not named, kind not in STORABLE_TYPES, -self._common_types()[kind], odd, len(ext), ext

    def _common_types(self) -> Counter[str]:
        """The number of images of each type; computed only if two images have the same id."""
        if self._types is None:
            self._types = Counter()
            for place in self._places:
                held = self.tree.list(place.folder)
                suffixes = Counter(ext for _, ext in self.rules.stems(held.files)) if held is not None else Counter()
                for ext, count in suffixes.items():
                    self._types[TYPE_OF_EXTENSION[ext[1:].lower()]] += count
        return self._types

    def _add(
        self,
        place: Place,
        words: tuple[str | None, str | None],
        dirs: tuple[str | None, ...],
        own: dict[str, list[Any]],
    ) -> None:
        """Add samples of a place that share everything except the parts in ``own``."""
        split, label = words
        label = place.label if place.label is not None else label
        shared = {"split": split, "label": label, "id_dir": place.id_dir, "image_dir": place.folder}
        shared |= dict(zip(("caption_dir", "caption_suffix", "json_dir", "json_suffix"), dirs, strict=True))
        self.builder.add(shared, own)
        self.counts[split or "", label or ""] += len(own["stem"])
        sides = (("caption", dirs[0], dirs[1]), ("json", dirs[2], dirs[3]))
        for part, folder, suffix in sides:
            if folder is not None and f"{part}_stem" not in own:
                self.forms[part, place, folder, str(suffix)] += len(own["stem"])
        for suffix, count in Counter(own["image_suffix"]).items():
            self.image_types[TYPE_OF_EXTENSION[str(suffix)[1:].lower()]] += count
        if label is not None:
            self.labels.add(label)

    def _orphans(self, folder: str, split: str | None, suffixes: tuple[str, ...]) -> None:
        """Skip captions that no image uses: their image was skipped, or does not exist."""
        held = self.tree.list(folder)
        if held is None:
            return
        usual = (*TEXT_SUFFIXES, *(JSON_SUFFIXES if self.rules.json else ()))
        ends = tuple(end.lower() for end in suffixes or usual)
        boxes = set(self.further.files[self.further.called(BOXES)][folder]) if self.further and self.rules.boxes else ()
        left = [name for name in self.account.left(folder, held) if name.lower().endswith(ends) and name not in boxes]
        if not left:
            return
        known = {name for stem, suffix in self.rules.stems(held.files) for name in (stem, stem + suffix)}
        unread = {
            name.rpartition(".")[0]: name for name in held.files if kind_of(name) == "images" and not is_image(name)
        }
        for name in left:
            path, end = join_path(folder, name), next(end for end in ends if name.lower().endswith(end))
            if not is_text(path):
                if name[: -len(end)] not in known:  # else it goes with its image, which is reported
                    self.skips.append(Skip("name-not-utf8", shown(path)))
            elif (stem := name[: -len(end)]) in unread and stem not in known:
                detail = f"its image {unread[stem]} is of a type that is not read"
                self.skips.append(Skip("caption-extra", path, split, detail=detail))
            elif stem in known:
                reason = "json-extra" if end in JSON_SUFFIXES else "caption-extra"
                self.skips.append(
                    Skip(reason, path, split, detail="its image is skipped, or has another file for this")
                )
            else:
                self.skips.append(Skip("image-missing", path, split))
        self.account.take(folder, held, left, "skipped")
