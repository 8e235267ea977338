"""Unexpected files among the shards of a dataset, and findings that repeat one another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.tar_names import encoding_of
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.dataset import Dataset
    from wdstools.stores.base import ObjectInfo, Store


def extra_shards(dataset: Dataset, emitted: set[str]) -> Iterator[Finding]:
    """Tars that readers would take for shards of this dataset."""
    known = {entry.path for _, entry in dataset.manifest.shards}
    folders = {path.rpartition("/")[0] for path in known}
    foreign = dataset.manifest.profile == "foreign"
    for found in _listing(dataset.shards):
        inside = found.key.rpartition("/")[0] in folders if foreign else found.key.split("/")[0] in folders
        if (
            found.key not in known
            and found.key not in emitted
            and inside
            and (encoding_of(found.key) if foreign else True)
        ):
            yield Finding(
                "extra",
                found.key,
                "this file among the shards is not part of the dataset",
                got=f"{found.bytes} bytes",
                cause="stranger",
            )


def _listing(store: Store) -> Iterator[ObjectInfo]:
    """What a store lists; nothing if it cannot list (web servers), where readers find no unexpected files either."""
    try:
        yield from store.list()
    except StoreError as error:
        if error.code != "store-cannot":
            raise


def without_echoes(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding for each damage: a wrong digest in the manifest shows up at the shard and in the checksum list as well."""
    findings = list(findings)
    manifests = [f for f in findings if f.kind == "manifest" and f.path == MANIFEST_PATH]
    unlisted = any(f.cause != "field-wrong" for f in manifests)
    sums = {f.got for f in findings if f.cause == "line-differs"}
    seen = set()
    for finding in findings:
        echo = unlisted and (
            finding.cause in ("field-wrong", "line-differs", "rows-differ", "values-differ")
            or (finding.kind == "swapped" and finding.got in sums)
        )
        what = replace(finding, message="")
        if not echo and what not in seen:
            seen.add(what)
            yield finding
