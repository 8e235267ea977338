"""Opens the tree at a path: a folder, an archive of one, or a prefix of a bucket."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.sniff import what_is
from wdstools.formats.tar import BLOCK
from wdstools.formats.tarhop import is_header
from wdstools.sources.bucket import BucketTree
from wdstools.sources.bucket_listing import BucketListing
from wdstools.sources.readers import reading
from wdstools.sources.source_words import is_volume
from wdstools.sources.tree import FolderTree, TarTree, ZipTree
from wdstools.sources.zipscan import ends_as_zip
from wdstools.stores.local import open_plain
from wdstools.stores.open import is_bucket, open_remote

if TYPE_CHECKING:
    from wdstools.sources.tree import Tree


def open_tree(
    path: str, *, follow_links: bool = False, name_encoding: str | None = None, listing: BucketListing | None = None
) -> Tree:
    """The tree at a path: a folder, a .zip or a .tar, or a prefix of a bucket, with its ``listing`` if already made.

    ``follow_links`` also follows links that lead out of the folder; ``name_encoding`` is the encoding of names in a zip.
    """
    if is_bucket(path):
        return BucketTree(listing or BucketListing(open_remote(path)))
    if os.path.isdir(path):
        return FolderTree(path, follow_links=follow_links)
    if not os.path.exists(path):
        raise NotFoundError("no such file or folder", where=path)
    with reading(path), open_plain(path) as file:
        head = file.read(BLOCK)
    if head[257:262] == b"ustar" or (len(head) == BLOCK and is_header(head)):
        return TarTree(path)
    if ends_as_zip(path) or head[:2] == b"PK":
        return ZipTree(path, name_encoding)
    if is_volume(os.path.basename(path)):
        raise UsageError(
            "this is one volume of a split archive",
            code="source-volume",
            where=path,
            hint="join the volumes first (`cat x.zip.* > x.zip`, or `7z x x.zip.001`), and give the result",
        )
    if len(head) == BLOCK and not any(head):
        raise UsageError("the tar is empty", code="source-empty", where=path)
    sniffed = what_is(head)
    this = f"this is {sniffed}, " if sniffed is not None else ""
    raise UsageError(
        f"{this}not a folder, a zip or a tar",
        code="source-unknown",
        where=path,
        hint=(sniffed and sniffed.hint)
        or "give a folder of images, a .zip, .tar, .tar.gz or .tar.zst of one, a .csv, .jsonl or .parquet table, or a folder of shards",
    )
