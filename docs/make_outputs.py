"""Writes the output of commands into README and the pages of docs/: ``make docs-outputs [PAGES=docs/howto/look.md]``.

Every ``console`` block of a page is run, together with its other blocks, in a folder that is the same on every machine.
The table of what is proved is taken from FORMAT.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.running import BLOCKS, Shell, make_place
from tests.servers.swift import swift_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.s3 import S3Server

ROOT = Path(__file__).parents[1]
_PROOF = re.compile(r"(?<=<!-- proof: begin -->\n).*?(?=<!-- proof: end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Pages with outputs, or with the table."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        page for page in found if re.search(r"^```console$|^<!-- proof: begin", page.read_text("utf-8"), re.MULTILINE)
    ]


def with_proof(text: str) -> str:
    """A page with FORMAT.md's table of what is proved."""
    table = re.search(r"^\| operation \|.*?\n(?=\n)", (ROOT / "FORMAT.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert table is not None
    return _PROOF.sub(lambda _: table[0], text)


@contextlib.contextmanager
def shell_for(text: str, folder: Path, server: Callable[[], S3Server] | None = None) -> Iterator[Shell]:
    """A shell in a new folder for a page; with a bucket if the page uses one, on a given server or a new one."""
    make_place(folder)
    with contextlib.ExitStack() as stack:
        more, replaced = {}, {}
        if "s3://bucket" in text:
            there = server() if server else stack.enter_context(swift_server(folder.parent / "swift"))
            more, replaced = there.env, {"s3://bucket": f"s3://{there.new_bucket()}"}
        yield Shell(folder, more, replaced)


def written(page: Path) -> str:
    """The page as it should be."""
    text = with_proof(page.read_text("utf-8"))
    if "```console" not in text:
        return text
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "place").mkdir()
        with shell_for(text, Path(folder) / "place") as shell:
            found: str = BLOCKS.with_outputs(text, shell.output_of, prepare=shell.prepare)
    return found


def main(names: list[str]) -> None:
    """Write these pages, or all."""
    os.environ.setdefault("NO_COLOR", "1")
    for page in [ROOT / name for name in names] or pages():
        text = written(page)
        if text != page.read_text("utf-8"):
            page.write_text(text, "utf-8")
            sys.stderr.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
