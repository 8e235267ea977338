"""Whether a dataset is what the caller requires: signed by the right signer, and not too old."""

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
    """The dataset, proved by a signature if a key or authorities are given, and at least of version ``min_version``.

    Raises UsageError (``public-key-invalid``, ``authority-invalid``), IntegrityError as ``signed_by`` does, and
    ``older-version``.
    """
    if public_key is not None and authorities is not None:
        raise UsageError(f"{option('public_key')} and {option('authorities')} cannot be combined")
    if authorities is not None:
        dataset = signed_under(dataset, os.fspath(authorities))
    if public_key is not None:
        dataset = signed_by(dataset, read_public_key(os.fspath(public_key)))
    version = dataset.manifest.version
    if min_version is not None and version < min_version:
        raise IntegrityError(
            "this version is older than the one requested",
            code="older-version",
            where=dataset.metadata.url,
            expected=f"version {min_version} or newer",
            got=f"version {version}, root {dataset.root}",
            hint="the server may be holding back a newer version: try another place",
        )
    return dataset
