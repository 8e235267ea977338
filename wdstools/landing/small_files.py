"""The small files next to the shards: manifest, provenance, list of skips, checksum list and card, all made here."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from wdstools.address import is_address
from wdstools.errors import FormatError, StoreError
from wdstools.formats.card import CARD_PATH, render_card
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, Manifest, dumps
from wdstools.formats.sums import SUMS_PATH, render_sums
from wdstools.landing.inside import read_inside
from wdstools.results import to_dict
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.results import Skip
    from wdstools.stores.base import Store

#: How many lists of failed packs are kept next to one destination.
_MOST_LISTS = 1000
#: What a pack writes in addition to shards and indexes.
SMALL_FILES = (MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, SUMS_PATH, CARD_PATH)


def assemble(
    manifest: Manifest, history: Mapping[str, bytes], sums: Mapping[str, str], card: bytes | None = None
) -> dict[str, bytes]:
    """Every small file of a dataset, by path.

    Args:
        manifest: what the dataset is.
        history: provenance and, if anything was skipped, the list of skips, by path.
        sums: SHA-256 of shards and index files, by path, in hexadecimal.
        card: the existing card; without it, a new one is made.
    """
    files = {MANIFEST_PATH: dumps(manifest), **history}
    files[SUMS_PATH] = checksum_list(files, sums)
    files[CARD_PATH] = card if card is not None else render_card(manifest).encode()
    return files


def checksum_list(files: Mapping[str, bytes], sums: Mapping[str, str]) -> bytes:
    """The checksum list of some files, given as bytes, and of others with known digests."""
    return render_sums({**sums, **{path: sha256_hex(data) for path, data in files.items()}})


def render_provenance(document: Mapping[str, Any]) -> bytes:
    """How a dataset was made, as the bytes of its provenance file."""
    return (json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def render_skips(skips: Iterable[Skip]) -> bytes:
    """What was not packed, one JSON object a line."""
    return "".join(json.dumps(to_dict(skip), ensure_ascii=False, sort_keys=True) + "\n" for skip in skips).encode()


def is_history(data: bytes) -> bool:
    """Whether bytes have the form of provenance or of a list of skips: one JSON object, or one per line."""
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        try:
            return all(isinstance(json.loads(line), dict) for line in data.splitlines())
        except (ValueError, RecursionError):
            return False
    return isinstance(document, dict)


def keep_skips(dest: str, skips: Iterable[Skip]) -> str:
    """Keep the list of skips of a failed pack next to its destination, without touching any existing file.

    For a prefix of a bucket it goes to the current folder. Returns its path; empty if there are too many lists already.
    """
    dest = dest.rstrip("/").rpartition("/")[2] if is_address(dest) else dest
    dest = (
        os.path.realpath(dest) if dest == os.curdir else dest
    )  # inside it, the list would be in the way of the next run
    data = render_skips(sorted(skips, key=lambda s: (s.path, s.reason, s.split or "", s.key or "", s.detail or "")))
    for number in range(1, _MOST_LISTS + 1):
        path = f"{dest}.skipped{f'-{number}' if number > 1 else ''}.jsonl"
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if file.read(len(data) + 1) == data:
                    return path
            continue
        except OSError as error:
            raise storage_error(error, path) from None
        return path
    return ""


def read_provenance(store: Store, copies: Iterable[bytes | None] = ()) -> dict[str, Any]:
    """How the dataset was made, from its own provenance or that of a copy; empty if none can be read."""
    try:
        own = read_inside(store, PROVENANCE_PATH)
    except (StoreError, FormatError):
        own = None
    for data in (own, *copies):
        try:
            document = json.loads(data or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    return {}
