"""wdstools: checksummed WebDataset shards, from packing to training.

    import wdstools as wt

    dataset = wt.pack(wt.FolderSource("InstaCities1M"), "shards")
    wt.verify(dataset).raise_for_findings()
    dataset["train"][123]

Importing this module imports nothing heavy: names are looked up when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "BusyError": "errors",
    "Dataset": "dataset",
    "Finding": "results",
    "FolderSource": "sources.folder",
    "FormatError": "errors",
    "IntegrityError": "errors",
    "Inventory": "results",
    "Manifest": "formats.manifest",
    "NotFoundError": "errors",
    "PackResult": "results",
    "Report": "results",
    "Sample": "reader.shard",
    "ShardEntry": "formats.manifest",
    "ShardsSource": "sources.shards",
    "SkippedError": "errors",
    "SourceChangedError": "errors",
    "Split": "reader.split",
    "StoreError": "errors",
    "TableSource": "sources.table",
    "UnsupportedVersionError": "errors",
    "UsageError": "errors",
    "WdsError": "errors",
    "WorkerError": "errors",
    "open_dataset": "dataset",
    "open_source": "ops.scan",
    "open_store": "stores.base",
    "pack": "ops.pack_api",
    "scan": "ops.scan",
    "verify": "ops.verify",
}

__all__ = [
    "BusyError",
    "Dataset",
    "Finding",
    "FolderSource",
    "FormatError",
    "IntegrityError",
    "Inventory",
    "Manifest",
    "NotFoundError",
    "PackResult",
    "Report",
    "Sample",
    "ShardEntry",
    "ShardsSource",
    "SkippedError",
    "SourceChangedError",
    "Split",
    "StoreError",
    "TableSource",
    "UnsupportedVersionError",
    "UsageError",
    "WdsError",
    "WorkerError",
    "__version__",
    "open_dataset",
    "open_source",
    "open_store",
    "pack",
    "scan",
    "verify",
]

if TYPE_CHECKING:
    from wdstools.dataset import Dataset, open_dataset
    from wdstools.errors import (
        BusyError,
        FormatError,
        IntegrityError,
        NotFoundError,
        SkippedError,
        SourceChangedError,
        StoreError,
        UnsupportedVersionError,
        UsageError,
        WdsError,
        WorkerError,
    )
    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.ops.pack_api import pack
    from wdstools.ops.scan import open_source, scan
    from wdstools.ops.verify import verify
    from wdstools.reader.shard import Sample
    from wdstools.reader.split import Split
    from wdstools.results import Finding, Inventory, PackResult, Report
    from wdstools.sources.folder import FolderSource
    from wdstools.sources.shards import ShardsSource
    from wdstools.sources.table import TableSource
    from wdstools.stores.base import open_store


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wdstools' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"wdstools.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
