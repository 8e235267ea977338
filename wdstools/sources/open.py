"""Which source a path means: shards that exist, a table, or a folder (or zip or tar of one) read through a layout."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Unpack

from wdstools.dataset import open_dataset
from wdstools.errors import NotFoundError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.options.declare import settle
from wdstools.options.pack import LayoutChoices
from wdstools.sources.folder import FolderSource
from wdstools.sources.members import member_choice
from wdstools.sources.shards import ShardsSource, is_shards
from wdstools.sources.table import TABLE_EXTENSIONS, TableSource
from wdstools.sources.unpacked import UnpackedSource, find_tars, is_compressed
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.options.declare import StrPath
    from wdstools.sources.base import Source


def open_source(path: StrPath, *, scratch: str | None = None, **layout: Unpack[LayoutChoices]) -> Source:
    """The source at a path: existing shards, a table, or a folder (or zip or tar of one) read through a layout.

    Compressed tars are unpacked into ``scratch``, otherwise into a temporary folder, when they are listed.
    """
    path, chosen = os.fspath(path), settle(LayoutChoices, layout)
    image, caption, captions = chosen["image"], chosen["caption"], chosen["captions"]
    recipe = None if chosen["recipe"] is None else os.fspath(chosen["recipe"])
    if not os.path.exists(path):
        raise NotFoundError("no such file or folder", where=path)
    if os.path.isfile(path) and is_compressed(path):
        plain = partial(open_source, **chosen)
        return UnpackedSource(path, plain, scratch)
    if recipe is None and image is None:
        if path.lower().endswith(TABLE_EXTENSIONS):
            return TableSource(path, captions=captions)
        if is_shards(path):
            choice = member_choice(chosen["members"], chosen["drop_members"], chosen["members_missing"])
            prefix = chosen["prefix_keys"]
            return _shards(path, scratch, partial(ShardsSource, captions=captions, members=choice, prefix_keys=prefix))
    return FolderSource(path, recipe=recipe, image=image, caption=caption, captions=captions)


def _shards(path: str, scratch: str | None, shards: Callable[..., ShardsSource]) -> Source:
    """Shards, or the tars that an adopted dataset's manifest is about, wherever they are."""
    if os.path.exists(os.path.join(path, MANIFEST_PATH)):
        dataset = open_dataset(path)
        if dataset.manifest.profile == "foreign" and isinstance(dataset.shards, LocalStore):
            path, adopted = dataset.shards.path, dataset.manifest
            if any(is_compressed(entry.path) for _, entry in adopted.shards):
                return UnpackedSource(path, lambda plain: shards(plain, adopted), scratch)
            return shards(path, adopted)
    elif os.path.isdir(path) and any(map(is_compressed, find_tars(path))):
        return UnpackedSource(path, shards, scratch)
    return shards(path)
