"""The planned samples of a shard: rows, and the files that each is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wdstools.formats.arrow import from_ipc
from wdstools.formats.digest import xxh3_128_hexdigest
from wdstools.formats.sample import MEMBER_ORDER
from wdstools.sources.base import entry_part, image_paths, join_path, path_part, side_paths, text_columns
from wdstools.sources.several import MORE_CAPTIONS, parse_more

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

    from wdstools.sources.base import SourceReader


class Row(NamedTuple):
    """One sample of the plan; ``derived`` says that the image's path follows from the template and the key."""

    key: bytes
    label: str | None
    image: str
    image_suffix: str
    image_entry: bytes | None
    caption_path: str | None
    caption_entry: bytes | None
    caption: str | None
    cls: int | None
    json: str | None
    json_path: str | None
    json_entry: bytes | None
    derived: bool
    #: Where each further member is: a path (None: the image's archive), and what an archive says.
    further: tuple[tuple[str | None, bytes | None], ...] = ()
    #: Further captions, as ``sources/several`` renders them; None where no sample has any.
    more_captions: str | None = None


def further_members(members: tuple[str, ...]) -> tuple[str, ...]:
    """The members that are packed as they are."""
    return tuple(member for member in members if member not in MEMBER_ORDER)


def rows_of(samples: bytes, split: str, template: str, members: tuple[str, ...]) -> Iterator[Row]:
    """The samples of a shard, from Arrow IPC bytes."""
    table = from_ipc(samples)
    keys, labels, ids, stems, suffixes = text_columns(table, ("key", "label", "id_dir", "stem", "image_suffix"))
    images = image_paths(table)
    inline = text_columns(table, ("caption_entry", "caption", "cls", "json"))
    return map(
        Row._make,
        zip(
            keys, labels, images, suffixes, *text_columns(table, ("image_entry",)),
            _caption_paths(table, images), *inline, side_paths(table, "json"), *text_columns(table, ("json_entry",)),
            _derived(template.replace("{split}", split), (keys, labels, ids, stems, suffixes), images),
            _further(table, further_members(members)), _more_captions(table),
            strict=True,
        ),
    )  # fmt: skip


def _more_captions(table: Any) -> list[str | None]:
    """The further captions of each sample: None if no sample has any, "" for those without."""
    values: list[str | None] = text_columns(table, (MORE_CAPTIONS,))[0]
    return [value or "" for value in values] if MORE_CAPTIONS in table.column_names else values


def _further(table: Any, members: tuple[str, ...]) -> list[tuple[tuple[str | None, bytes | None], ...]]:
    """Where the further members of each sample are."""
    if not members:
        return [()] * table.num_rows
    places = [
        list(zip(*text_columns(table, (path_part(member), entry_part(member))), strict=True)) for member in members
    ]
    return list(zip(*places, strict=True))


def _caption_paths(table: Any, images: list[str]) -> list[str | None]:
    """The path each caption is read from: None for an inline caption, the image's path if there is only an entry."""
    entries = text_columns(table, ("caption_entry",))[0]
    return [
        path if path is not None else image if entry is not None else None
        for path, entry, image in zip(side_paths(table, "caption"), entries, images, strict=True)
    ]


def _derived(template: str, parts: tuple[list[Any], ...], images: list[str]) -> list[bool]:
    """For which samples the path of the image follows from the template and the key."""
    before, _, after = template.partition("{id}")
    place = {label: before.replace("{label}", label or "") for label in set(parts[1])}
    ids = [join_path(folder, stem) for folder, stem in zip(parts[2], parts[3], strict=True)]
    return [
        suffix == after
        and image == f"{place[label]}{sample_id}{suffix}"
        and b"%" not in key
        and b"~" not in key
        and (key == (plain := sample_id.encode()) or (label is not None and key == b"%b/%b" % (label.encode(), plain)))
        for key, label, sample_id, suffix, image in zip(parts[0], parts[1], ids, parts[4], images, strict=True)
    ]


def sources_digest(stats: array[int]) -> str:
    """XXH3-128 of sizes and modification times, in reading order."""
    return xxh3_128_hexdigest(stats.tobytes())


def stats_of(reader: SourceReader, row: Row, members: tuple[str, ...]) -> list[int]:
    """Size and modification time of each file of a sample, without reading the files."""
    return [number for path, entry in files_of(row, members) for number in reader.stat(path, entry)]


def files_of(row: Row, members: tuple[str, ...]) -> Iterator[tuple[str, bytes | None]]:
    """Path and entry of each file of a sample, in reading order."""
    yield row.image, row.image_entry
    if row.caption_path is not None and "txt" in members:
        yield row.caption_path, row.caption_entry
    for more in parse_more(row.more_captions) if row.more_captions else ():
        if not isinstance(more, str):
            yield more.path, more.entry
    if (row.json_path is not None or row.json_entry is not None) and "json" in members:
        yield row.json_path or row.image, row.json_entry
    for path, entry in row.further:
        if path is not None or entry is not None:
            yield path or row.image, entry
