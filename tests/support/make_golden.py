"""Make a golden dataset, once whenever a writer's root digests change: ``python -m tests.support.make_golden tests/golden/v2``.

A committed dataset is never made again: the golden tests show that its bytes stay readable, and that today's code still
packs those of the newest from the same source. The source is one zip, so that no odd name depends on a
checkout: odd names, one image under two keys, one without a caption, one that is cut.
"""

from __future__ import annotations

import math
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import wdstools
from tests.support.foreign_tars import tar_bytes
from tests.support.pictures import encoded

#: The options of the golden pack; its source's recipe is "labels".
OPTIONS: dict[str, Any] = {"splits": "train=60,val=40", "shard_samples": 5, "seed": 7, "name": "golden", "version": 3}


def make_golden(home: Path) -> str:
    """Write ``dataset/`` from the source next to the first version; returns the root digest."""
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(home.parent / "v1/source.zip") as archive:
            archive.extractall(scratch)  # noqa: S202  our own
        made = wdstools.pack(wdstools.FolderSource(scratch, recipe="labels"), str(home / "dataset"), **OPTIONS)
    return made.root


#: The options of the golden pack of further members.
MEMBERS_OPTIONS: dict[str, Any] = {"shard_samples": 3, "seed": 7, "name": "members", "version": 1}


def make_golden_members(home: Path) -> str:
    """Write ``source/val-000.tar`` and ``dataset/``, in format 2; returns the root digest."""
    members: list[tuple[str, bytes]] = []
    for number, key in enumerate(["a/1", "a/2", "b/1", "b/2", "long/" + "x" * 100, "é"]):
        image, mask = (encoded(kind, seed=number * 2 + at) for at, kind in enumerate(("JPEG", "PNG")))
        parts = {
            "jpg": image,
            "txt": b"caption %d" % number,
            "json": b"{}",
            "mask.png": mask,
            "npy": bytes([number] * 9),
        }
        members += [(f"{key}.{extension}", data) for extension, data in parts.items()]
    (home / "source").mkdir(parents=True)
    (home / "source/val-000.tar").write_bytes(tar_bytes(members, tarfile.PAX_FORMAT))
    return wdstools.pack(str(home / "source"), str(home / "dataset"), **MEMBERS_OPTIONS).root


#: Columns of the golden dataset: each type, nulls, and unusual floats and texts.
COLUMNS: dict[str, list[Any]] = {
    "score": [0.1, None, math.nan, -0.0, math.inf, 1e-45],
    "exact": [0.1, None, -math.inf, 5e-324, 1.7976931348623157e308],
    "number": [-(2**63), 2**63 - 1, None, 0],
    "again": ["", None, "\u00e9 \U0001f600", "two\nlines", '"'],
    "good": [True, False, None],
    "vector": [[0.5, -1.0, 3.4028234663852886e38], None, [math.nan, 0.0, -0.0]],
}
COLUMN_TYPES = {"score": "float32", "exact": "float64", "number": "int64", "again": "string", "good": "bool"}


def columns_table(dataset: Path) -> Any:
    """The table of COLUMNS for all samples of the golden dataset but the last, its values repeated."""
    import pyarrow as pa

    from tests.support.added_columns import keys_of

    keys = sorted(keys_of(dataset))[:-1]
    columns = {}
    for name, values in COLUMNS.items():
        kind = pa.list_(pa.float32(), 3) if name == "vector" else pa.type_for_alias(COLUMN_TYPES[name])
        columns[name] = pa.array([values[row % len(values)] for row in range(len(keys))], kind)
    return pa.table({"key": keys, **columns})


def make_golden_columns(home: Path) -> str:
    """Write the columns of the golden dataset ``v2``, as in its ``.wdstools/columns``; returns its root digest."""
    with tempfile.TemporaryDirectory() as scratch:
        dataset = Path(shutil.copytree(home.parent / "v2/dataset", Path(scratch) / "dataset"))
        made = wdstools.add_columns(dataset, columns_table(dataset), name="golden")
        shutil.copytree(dataset / ".wdstools/columns", home)
    assert isinstance(made, wdstools.ColumnsResult)
    return made.root


if __name__ == "__main__":
    kinds = {"members": make_golden_members, "columns": make_golden_columns}
    make = next((kinds[kind] for kind in kinds if sys.argv[1].endswith(kind)), make_golden)
    sys.stdout.write(make(Path(sys.argv[1])) + "\n")
