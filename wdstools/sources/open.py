"""Finds the kind of source at a path: existing shards, a table, or a folder (or a zip or tar of one)."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Unpack

from wdstools.dataset import open_dataset
from wdstools.errors import NotFoundError, UsageError, option
from wdstools.foreign.split_names import split_in_name, split_of_word
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.tar_names import encoding_of, is_compressed, tar_stem
from wdstools.options.declare import settle
from wdstools.options.pack import LayoutChoices
from wdstools.sources.columns import TABLE_CHOICES, TableRules
from wdstools.sources.embedded import EmbeddedSource, embedded_in
from wdstools.sources.folder import FolderSource
from wdstools.sources.members import member_choice
from wdstools.sources.readers import reading
from wdstools.sources.shards import ShardsSource, is_shards
from wdstools.sources.source_words import IMAGE_FOLDERS, TEXT_SUFFIXES, is_image, is_paper, kind_of
from wdstools.sources.table import TABLE_EXTENSIONS, TableSource
from wdstools.sources.tarscan import scan_tar
from wdstools.sources.unpacked import UnpackedSource, find_tars
from wdstools.sources.wrapping import is_word
from wdstools.stores.folders import is_folder
from wdstools.stores.local import LocalStore, open_plain
from wdstools.stores.open import is_bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.options.declare import StrPath
    from wdstools.sources.base import Source

#: Options about columns, which shards do not have.
_COLUMNS = ("path_column", "caption_column", "label_column", "split_column", "key_column")
#: Options that do nothing for a kind of source.
_IDLE = {
    "shards": (*(name for name in _COLUMNS if name != "caption_column"), "follow_links"),
    "a table": ("prefix_keys", "members", "drop_members", "members_missing", "ignore"),
    "tables with images in them": (
        "path_column",
        "key_column",
        "split_column",
        "prefix_keys",
        "ignore",
        "follow_links",
    ),
    "a folder": ("prefix_keys",),
    "an archive": ("prefix_keys", "follow_links"),
}


def open_source(path: StrPath, *, scratch: str | None = None, **layout: Unpack[LayoutChoices]) -> Source:
    """The source at a path: existing shards, a table, or a folder (or zip or tar of one) read by its names or through a layout.

    Args:
        path: A folder, zip or tar, a table, or a folder of shards.
        scratch: Where compressed tars are unpacked when they are listed; without it, a temporary folder.
        **layout: How the files of a folder make samples; see ``LayoutChoices``. Without it the layout is recognised.

    Returns:
        The source, for ``scan`` and ``pack``; its files are listed on demand.

    Raises:
        NotFoundError: There is nothing at the path.
        UsageError: An option is not possible, or no layout fits.
        FormatError: A recipe cannot be understood.
        StoreError: The source cannot be read.
    """
    path, chosen = os.fspath(path), settle(LayoutChoices, layout)
    image, caption, captions = chosen["image"], chosen["caption"], chosen["captions"]
    recipe = None if chosen["recipe"] is None else os.fspath(chosen["recipe"])
    if not is_bucket(path) and not os.path.exists(path):
        raise NotFoundError("no such file or folder", where=path)
    choice = member_choice(chosen["members"], chosen["drop_members"], chosen["members_missing"])
    rules = TableRules(**{name: chosen[name] for name in TABLE_CHOICES})  # type: ignore[literal-required]
    ignore = tuple(chosen["ignore"] or ())
    folder = partial(
        FolderSource,
        recipe=recipe,
        image=image,
        caption=caption,
        captions=captions,
        tables=rules,
        members=choice,
        ignore=ignore,
    )
    shards = partial(
        ShardsSource,
        captions=captions,
        members=choice,
        prefix_keys=chosen["prefix_keys"],
        ignore=ignore,
        caption_column=chosen["caption_column"],
    )
    if is_bucket(path):
        return _in_bucket(path, chosen, folder, shards, rules, scratch)
    if os.path.isfile(path) and is_compressed(path):
        return UnpackedSource(
            path, lambda plain: folder(plain) if recipe or image else _plain(plain, folder, shards), scratch
        )
    if chosen["name_encoding"] is not None and not _is_zip(path):
        raise UsageError("only the names in a zip have an encoding", where=option("name_encoding"), got=path)
    if recipe is None and image is None:
        embedded = _embedded(path, rules, shards, scratch)
        if embedded is not None:
            _refuse_idle(chosen, "tables with images in them", path)
            return embedded
        if path.lower().endswith(TABLE_EXTENSIONS):
            _refuse_idle(chosen, "a table", path)
            return TableSource(path, captions=captions, tables=rules, follow_links=chosen["follow_links"])
        if is_shards(path) and not (os.path.isfile(path) and is_folder_tar(path)):
            _refuse_idle(chosen, "shards", path)
            return _shards(path, scratch, shards, ignore)
    _refuse_idle(chosen, "a folder" if os.path.isdir(path) else "an archive", path)
    return folder(path, follow_links=chosen["follow_links"], name_encoding=chosen["name_encoding"])


def _embedded(
    path: str, rules: TableRules, shards: Callable[[str], Source], scratch: str | None
) -> EmbeddedSource | None:
    """Parquet tables that contain the images themselves: a single one, or those of a folder without other images."""
    if os.path.isdir(path):
        if not _has_tables(path):
            return None
        store = LocalStore(path)
        keys = [info.key for info in store.list()]
        if any(is_image(key) or encoding_of(key) for key in keys):
            return None
    elif path.lower().endswith(".parquet"):
        folder, name = os.path.split(path)
        store, keys = LocalStore(folder or "."), [name]
    else:
        return None
    tables = embedded_in(store, keys)
    return EmbeddedSource(store, keys, tables, shards, rules, scratch) if tables else None


def _has_tables(path: str) -> bool:
    """Whether there are Parquet tables in a folder or its subfolders; no deeper, as a folder may contain a million images."""
    with reading(path), os.scandir(path) as entries:
        found = list(entries)
    names = [entry.name for entry in found]
    folders = (entry.path for entry in found if not entry.name.startswith(".") and is_folder(entry))
    for folder in islice(folders, _PROBED_FOLDERS):
        with contextlib.suppress(OSError):
            names += os.listdir(folder)
    return any(name.lower().endswith(".parquet") for name in names)


_PROBED_FOLDERS = 64


def _in_bucket(
    url: str,
    chosen: LayoutChoices,
    folder: Callable[..., Source],
    shards: partial[ShardsSource],
    rules: TableRules,
    scratch: str | None,
) -> Source:
    """The source at a place in an object store."""
    from wdstools.sources.open_bucket import BucketTable, embedded_at, is_table, listed, open_shards

    if chosen["name_encoding"] is not None or chosen["follow_links"]:
        name = "name_encoding" if chosen["name_encoding"] is not None else "follow_links"
        raise UsageError(f"{option(name)} has no effect for a bucket", code="option-idle", where=option(name))
    if chosen["recipe"] is None and chosen["image"] is None:
        listing = listed(url)
        embedded = embedded_at(url, listing)
        if embedded is not None:
            _refuse_idle(chosen, "tables with images in them", url)
            return EmbeddedSource(*embedded, shards, rules, scratch)
        if is_table(url):
            _refuse_idle(chosen, "a table", url)
            return BucketTable(url, captions=chosen["captions"], tables=rules)
        found = open_shards(url, listing, **shards.keywords)
        if found is not None:
            _refuse_idle(chosen, "shards", url)
            return found
        folder = partial(folder, listing=listing)
    _refuse_idle(chosen, "a folder", url)
    return folder(url)


def _refuse_idle(chosen: LayoutChoices, kind: str, path: str) -> None:
    """Raise UsageError for an option that has no effect for this kind of source."""
    usual = settle(LayoutChoices, {})
    for name in _IDLE[kind]:
        if chosen[name] != usual[name]:  # type: ignore[literal-required]
            raise UsageError(
                f"{option(name)} has no effect for {kind}", code="option-idle", where=option(name), got=path
            )


def _is_zip(path: str) -> bool:
    if os.path.isdir(path):
        return False
    with reading(path), open_plain(path) as file:
        return file.read(2) == b"PK"


def _plain(path: str, folder: Callable[[str], Source], shards: Callable[[str], Source]) -> Source:
    """The source for an unpacked tar: of samples, or of a folder."""
    return shards(path) if is_shards(path) and not is_folder_tar(path) else folder(path)


def is_folder_tar(path: str) -> bool:
    """Whether a tar is an archive of a folder, though files with the same stem are adjacent as in a shard.

    It contains splits, or one folder at the top; and it was not written by wdstools, is not named like a shard, and has no
    class in a separate file.
    """
    with reading(path), open_plain(path) as file:
        if b"wds1:" in file.read(512):
            return False
    found = [member.name.removeprefix("./") for member in islice(scan_tar(path), _PROBED_MEMBERS) if member.is_file]
    names = [name for name in found if not any(part.startswith(".") for part in name.split("/"))]
    if any(
        kind_of(name) not in ("images", "texts", "metadata", "tables", "") or name.endswith(".cls") for name in names
    ):
        return False
    if any(is_image(name.rpartition(".")[0]) and name.lower().endswith(TEXT_SUFFIXES) for name in names):
        return True  # x.jpg.txt
    parts = _in_folders([name.split("/") for name in names if not is_paper(name.rpartition("/")[2])])
    wrapped = False
    while parts and all(len(part) > 1 and part[0] == parts[0][0] for part in parts) and not is_word(parts[0][0]):
        parts, wrapped = _in_folders([part[1:] for part in parts]), True
    tops = {
        part[1] if len(part) > 2 and part[0].lower() in IMAGE_FOLDERS else part[0] for part in parts if len(part) > 1
    }
    if any(split_of_word(top) for top in tops) or len({split_in_name(top) for top in tops} - {None}) > 1:
        return True
    stem = tar_stem(os.path.basename(path))
    return wrapped and not stem[-_SHARD_DIGITS:].isdigit() and split_in_name(stem) is None


def _in_folders(parts: list[list[str]]) -> list[list[str]]:
    """Paths, part by part, without texts at the top if all images are in folders."""
    inner = [part for part in parts if len(part) > 1]
    loose = any(len(part) == 1 and is_image(part[0]) for part in parts)
    return inner if not loose and any(is_image(part[-1]) for part in inner) else parts


_PROBED_MEMBERS = 4096
_SHARD_DIGITS = 3


def _shards(path: str, scratch: str | None, shards: Callable[..., ShardsSource], ignore: tuple[str, ...]) -> Source:
    """Shards, or the tars of an adopted dataset, wherever they are."""
    if os.path.exists(os.path.join(path, MANIFEST_PATH)):
        dataset = open_dataset(path)
        if dataset.manifest.profile == "foreign" and isinstance(dataset.shards, LocalStore):
            path, adopted = dataset.shards.path, dataset.manifest
            if any(is_compressed(entry.path) for _, entry in adopted.shards):
                return UnpackedSource(path, lambda plain: shards(plain, adopted, ignore=()), scratch, ignore)
            return shards(path, adopted)
    elif os.path.isdir(path) and any(map(is_compressed, find_tars(path))):
        return UnpackedSource(path, lambda plain: shards(plain, ignore=()), scratch, ignore)
    return shards(path)
