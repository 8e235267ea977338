"""Makes the golden dataset; run once for each format version: ``python -m tests.support.make_golden tests/golden/v1``.

What is committed is never made again: that its bytes stay readable, and that today's code still packs them from the
same source, is what the golden tests are for. The source is one zip, so that no odd name depends on a checkout.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import wdstools
from tests.support.odd_names import write_odd_names

#: The options of the golden pack; its source's recipe is "labels".
OPTIONS: dict[str, Any] = {
    "splits": "train=60,val=40",
    "shard_samples": 5,
    "seed": 7,
    "name": "golden",
    "version": 3,
    "authenticated_ranges": True,
}


def write_source(folder: Path) -> None:
    """Odd names, one image under two keys, one without a caption, one that is cut."""
    write_odd_names(folder)
    for extension in (".jpg", ".txt"):
        shutil.copyfile(folder / f"oslo/a.b.c{extension}", folder / f"new york/copy{extension}")
        shutil.copyfile(folder / f"oslo/a.b.c{extension}", folder / f"oslo/cut{extension}")
    shutil.copyfile(folder / "oslo/café.jpg", folder / "oslo/no caption.jpg")
    (folder / "oslo/cut.jpg").write_bytes((folder / "oslo/a.b.c.jpg").read_bytes()[:-40])


def make_golden(home: Path) -> str:
    """Write ``source.zip`` and ``dataset/``; gives the root digest."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        write_source(source)
        with zipfile.ZipFile(home / "source.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(source.rglob("*.*")):
                archive.write(path, str(path.relative_to(source)))
        made = wdstools.pack(wdstools.FolderSource(str(source), recipe="labels"), str(home / "dataset"), **OPTIONS)
    return made.root


if __name__ == "__main__":
    sys.stdout.write(make_golden(Path(sys.argv[1])) + "\n")
