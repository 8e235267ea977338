"""Makes a golden dataset, once whenever a writer's root digests change: ``python -m tests.support.make_golden tests/golden/v2``.

What is committed is never made again: that its bytes stay readable, and that today's code still packs those of the
newest from the same source, is what the golden tests are for. The source is one zip, so that no odd name depends on a
checkout: odd names, one image under two keys, one without a caption, one that is cut.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import wdstools

#: The options of the golden pack; its source's recipe is "labels".
OPTIONS: dict[str, Any] = {"splits": "train=60,val=40", "shard_samples": 5, "seed": 7, "name": "golden", "version": 3}


def make_golden(home: Path) -> str:
    """Write ``dataset/`` of the source that lies beside the first version; gives the root digest."""
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(home.parent / "v1/source.zip") as archive:
            archive.extractall(scratch)
        made = wdstools.pack(wdstools.FolderSource(scratch, recipe="labels"), str(home / "dataset"), **OPTIONS)
    return made.root


if __name__ == "__main__":
    sys.stdout.write(make_golden(Path(sys.argv[1])) + "\n")
