"""Whether a dataset is one that the caller asked for: signed by whom it named, and no older than it may be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.checks.certificate import signed_under
from wdstools.checks.signature import read_public_key, signed_by
from wdstools.errors import IntegrityError, UsageError, option

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath


def trusted(
    dataset: Dataset, public_key: StrPath | None, min_version: int | None, authorities: StrPath | None
) -> Dataset:
    """The dataset as proved by whom the caller trusts, if a key or authorities were given, and no older than it may be.

    Raises UsageError (``public-key-invalid``, ``authority-invalid``), IntegrityError as ``signed_by`` does, and ``older-version``.
    """
    if public_key is not None and authorities is not None:
        raise UsageError(f"{option('public_key')} and {option('authorities')} exclude each other")
    if authorities is not None:
        dataset = signed_under(dataset, os.fspath(authorities))
    if public_key is not None:
        dataset = signed_by(dataset, read_public_key(os.fspath(public_key)))
    version = dataset.manifest.version
    if min_version is not None and version < min_version:
        raise IntegrityError(
            "this is an older version than the one that was asked for",
            code="older-version",
            where=dataset.metadata.url,
            expected=f"version {min_version} or newer",
            got=f"version {version}, root {dataset.root}",
            hint="the server may hold back a newer version: ask at another place",
        )
    return dataset
