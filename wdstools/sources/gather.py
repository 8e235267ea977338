"""Reads a tree without a recipe: splits, labels, captions and tables are recognised by name, by the same rules everywhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.errors import WdsError
from wdstools.formats.manifest import is_split_name
from wdstools.sources.base import DamagedEntryError, NeedSpaceError, join_path, shown
from wdstools.sources.boxes import BOXES, are_boxes, role_of
from wdstools.sources.classes import classes_in_lists, classes_of_folders, note_of_classes, one_way_of_labels
from wdstools.sources.further_members import Further
from wdstools.sources.gallery_names import photograph_of
from wdstools.sources.pairing import Pairing, Rules
from wdstools.sources.sidecar import caption_in_json
from wdstools.sources.source_words import JSON_SUFFIXES, TEXT_SUFFIXES, extension_of, is_image
from wdstools.sources.split_lists import SplitLists
from wdstools.sources.survey import Place, survey
from wdstools.sources.tables_beside import Tables, describing, read_whole
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.results import Skip
    from wdstools.sources.columns import Said, TableRules
    from wdstools.sources.members import MemberChoice
    from wdstools.sources.survey import Survey
    from wdstools.sources.tree import Tree

_PROBED_FILES = 8


@dataclass(slots=True)
class Gathered:
    """A tree that was read: its samples in ``pairing``, their layout in ``template``, and notes."""

    pairing: Pairing
    base: str
    template: str
    #: The layout of files that belong to images: ``caption``, ``json``, ``member mask.png``.
    sides: dict[str, str] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Tables that contain the bytes of images.
    holding: list[str] = field(default_factory=list)


def stems(names: list[str]) -> list[tuple[str, str]]:
    """The stem and suffix of each image among some files."""
    return [(stem, dot + extension) for stem, dot, extension in (n.rpartition(".") for n in names if is_image(n))]


def gather(
    tree: Tree, rules: TableRules, captions: str | None, members: MemberChoice, *, own: str | None = None
) -> Gathered:
    """List a tree; ``captions`` is the policy, None: required if there are any.

    If ``own``, the name of the source, is given, folders are classes, and so may be the source itself.
    """
    if not members.takes("txt"):
        captions = "none"
    found = survey(tree)
    places, notes = one_way_of_labels(found.places if own is None else classes_of_folders(found, own))
    tables = Tables(tree, found, rules)
    tables.run()
    lists = SplitLists(tree, found, tables.images)
    lists.run(tables.read)
    if found.has_splits:
        by_folder = {place.folder: place.split for place in places}
        lists.agree(lambda path: by_folder.get(path.rpartition("/")[0]))
    elif lists.split_of:
        places = classes_in_lists(found, places)
    rules_of_places = _rules(tree, found, places, (tables, captions, members))
    if rules_of_places.boxes:
        notes.append(f"text files of boxes, one line of numbers per box, are packed as {BOXES}")
    pairing = Pairing(
        tree,
        rules_of_places,
        rows=_rows(tables, found) if tables.read else None,
        listed=lists.split_of or None,
        table_name=tables.names,
        further=Further(members),
    )
    for folder, names in (*tables.read.items(), *lists.read.items()):
        held = tree.list(folder)
        if held is not None:
            pairing.account.take(folder, held, names, "read")
    for skip in tables.skips:
        _take_skipped(tree, pairing, skip)
    notes += _take_describing(tree, found, pairing)
    inside = [
        path for path in found.folders if not found.base or path == found.base or path.startswith(found.base + "/")
    ]
    pairing.run(places, {} if found.has_splits else {path: (None, ()) for path in inside if found.folders[path].sides})
    if pairing.other_forms:
        notes.append(
            f"{counted(pairing.other_forms, 'caption')} whose name has another Unicode form (NFC, NFD) than the image's"
        )
    if pairing.other_splits:
        named = counted(len(pairing.other_splits), "image")
        notes.append(
            f"{named} in another split by folder than by table: the folder decides, as for {shown(pairing.other_splits[0])}"
        )
    notes += [] if pairing.labels else note_of_classes(places)
    patterns = Counter(place.template for place in places)
    template = patterns.most_common(1)[0][0] if patterns else "{id}.*"
    return Gathered(
        pairing,
        found.base,
        template,
        _templates(pairing, found.base),
        [*found.skips, *tables.skips, *lists.skips],
        [*found.notes, *tables.notes, *lists.notes, *notes],
        tables.holding,
    )


def _rules(tree: Tree, found: Survey, places: list[Place], given: tuple[Tables, str | None, MemberChoice]) -> Rules:
    """The rules for reading the places, derived from the first files of each kind."""
    tables, captions, members = given
    metas = [match for matches in _matches(tree, found, places, JSON_SUFFIXES).values() for match in matches]
    by_role = _matches(tree, found, places, TEXT_SUFFIXES)
    boxes = frozenset(role for role, matches in by_role.items() if _hold_boxes(tree, matches))
    texts = [match for role, matches in by_role.items() if role not in boxes for match in matches]
    in_json = bool(metas) and not texts and _hold_captions(tree, metas, tables.rules.caption_column)
    tables.refuse_absent(documents=in_json)
    policy = captions or _policy(tables, beside=bool(texts) or in_json)
    return Rules(
        policy,
        stems,
        tables.rules.several_captions,
        sidecars=(policy != "none" and bool(texts)) or bool(boxes),
        boxes=boxes,
        json=bool(metas) and members.takes("json"),
        json_captions=in_json and policy != "none",
        shared=bool(texts or metas),
        lists=members.takes("json"),
    )


def _templates(pairing: Pairing, base: str) -> dict[str, str]:
    """The templates of captions, metadata and further members in files of their own, each the one that most files follow."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for (what, place, folder, suffix), count in pairing.forms.items():
        counts[what][_side_template(place, folder, suffix, base)] += count
    return {what: max(found, key=lambda text: (found[text], text)) for what, found in sorted(counts.items())}


def _side_template(place: Place, folder: str, suffix: str, base: str) -> str:
    parts = [part for part in folder.removeprefix(base).split("/") if part]
    inner = [part for part in place.id_dir.split("/") if part]
    if inner and parts[-len(inner) :] == inner:
        parts = parts[: -len(inner)]
    if place.label is not None and parts[-1:] == [place.label]:
        parts[-1] = "{label}"
    if place.split is not None and place.split in parts:
        parts[parts.index(place.split)] = "{split}"
    return "/".join([*parts, "{id}" + suffix])


#: Files of boxes, and JSON metadata of one image, are smaller than this.
_MOST_BOXES_BYTES, _MOST_JSON_BYTES = 1 << 20, 1 << 24


def _hold_boxes(tree: Tree, files: list[tuple[str, bytes | None]]) -> bool:
    """Whether the texts of images are boxes, judged by the first of them."""
    reader = tree.opener.open()
    try:
        return are_boxes([read_whole(reader, path, entry, most=_MOST_BOXES_BYTES) for path, entry in files])
    except (WdsError, DamagedEntryError, NeedSpaceError):
        return False
    finally:
        reader.close()


def _matches(
    tree: Tree, found: Survey, places: list[Place], suffixes: tuple[str, ...]
) -> dict[str, list[tuple[str, bytes | None]]]:
    """The first files of images with one of some suffixes: path and entry, by what their folders are for."""
    matches: dict[str, list[tuple[str, bytes | None]]] = defaultdict(list)
    for place in places:
        roles = {side: "" if side == place.folder else role_of(side) for side, _ in place.sides}
        wanted = [side for side in roles if found.folders[side].sides and len(matches[roles[side]]) < _PROBED_FILES]
        held = tree.list(place.folder) if wanted else None
        if held is None:
            continue
        known = {stem for stem, _ in stems(held.files)}
        known |= {name for name in held.files if is_image(name)} | {
            stem.rpartition("_")[0] for stem in known if "_" in stem
        }
        folded = {name.lower() for name in known}
        for side in wanted:
            role = roles[side]
            files = held if side == place.folder else tree.list(side)
            for name in files.files if files else ():
                stems_of = [name[: -len(end)] for end in suffixes if name.lower().endswith(end)]
                stems_of += [photograph_of(name) or ""] if suffixes == JSON_SUFFIXES else []
                if not any(stem in known or stem.lower() in folded for stem in stems_of):
                    continue
                matches[role].append((join_path(side, name), files.entry(name) if files else None))
                if len(matches[role]) >= _PROBED_FILES:
                    break
    return {role: found for role, found in matches.items() if found}


def _hold_captions(tree: Tree, files: list[tuple[str, bytes | None]], key: str | None) -> bool:
    """Whether the JSON files of images contain captions, judged by the first of them."""
    reader = tree.opener.open()
    try:
        for path, entry in files:
            try:
                if caption_in_json(read_whole(reader, path, entry, most=_MOST_JSON_BYTES), path, key) is not None:
                    return True
            except (WdsError, DamagedEntryError, NeedSpaceError, ValueError):
                continue
    finally:
        reader.close()
    return False


def _policy(tables: Tables, *, beside: bool) -> str:
    return "required" if beside or any(said.captions or said.odd for said in tables.rows.values()) else "none"


def _rows(tables: Tables, found: Survey) -> dict[str, Said]:
    """What tables say about the images in the layout, with splits by the common rule."""
    outside = set(found.outside)
    for path in [path for path in tables.rows if path.rpartition("/")[0] in outside]:
        del tables.rows[path]
    for said in tables.rows.values():
        if said.split is not None:
            said.split = said.split if is_split_name(said.split) else None
    return tables.rows


def _take_describing(tree: Tree, found: Survey, pairing: Pairing) -> list[str]:
    """Record files that describe folders of images next to them: they are not part of the dataset, and not a loss."""
    kinds: Counter[str] = Counter()
    for folder, facts in found.folders.items():
        held = tree.list(folder) if facts.folders and facts.sides else None
        names = describing(facts.folders, held.files) if held is not None else set()
        if held is not None and names:
            pairing.account.take(folder, held, names, "ignored")
            kinds.update(extension_of(name) for name in names)
    told = ", ".join(f"{count:,} .{end}" for end, count in sorted(kinds.items()))
    return [f"files that are named after folders and describe them are not packed: {told}"] if kinds else []


def _take_skipped(tree: Tree, pairing: Pairing, skip: Skip) -> None:
    folder, _, name = skip.path.rpartition("/")
    held = tree.list(folder) if skip.reason == "table-damaged" else None
    if held is not None:
        pairing.account.take(folder, held, [name], "skipped")
