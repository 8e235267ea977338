"""Check what was emitted for other readers: that it is listed, intact, and made for this dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.checks.columns import unread
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.interop.emitted import EMITTED_PATH, Emitted, read_emitted
from wdstools.results import Finding
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset

_MAX_FILE_BYTES = 1 << 40


def known_emitted(dataset: Dataset) -> tuple[Emitted, list[Finding], tuple[str, ...]]:
    """The list of emitted files, the findings about the list itself, and a note if a remote list could not be read."""
    try:
        emitted = read_emitted(dataset.metadata, dataset.manifest)
    except FormatError as error:
        return Emitted(), [Finding("emitted", EMITTED_PATH, error.message, cause=error.code)], ()
    except StoreError as error:
        if not isinstance(dataset.metadata, LocalStore):
            return Emitted(), [], (unread(dataset.metadata, EMITTED_PATH, error),)
        return Emitted(), [Finding("unreadable", EMITTED_PATH, error.message, got=error.code, cause=error.code)], ()
    if emitted.files and emitted.root != dataset.root:
        message = "other readers' files were emitted for another version: wdstools emit DATASET --for all"
        found = Finding(
            "emitted", EMITTED_PATH, message, expected=dataset.root, got=emitted.root, cause="emitted-of-another"
        )
        return emitted, [found], ()
    return emitted, [], ()


def check_emitted(dataset: Dataset, emitted: Emitted) -> Iterator[Finding]:
    """Compare each emitted file, next to the manifest, with its digest on the list."""
    for path, (_, digest) in emitted.files.items():
        try:
            found = sha256_hex(get_whole(dataset.metadata, path, _MAX_FILE_BYTES))
        except NotFoundError:
            yield Finding(
                "missing",
                path,
                "an emitted file is missing; emit writes it again",
                expected=digest,
                cause="emitted-missing",
            )
            continue
        except (StoreError, FormatError) as error:
            yield Finding("unreadable", path, error.message, got=error.code, cause=error.code)
            continue
        if found != digest:
            yield Finding(
                "emitted",
                path,
                "an emitted file differs from what was written",
                expected=digest,
                got=found,
                cause="emitted-differs",
            )
