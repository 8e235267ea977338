"""The documents say what the code does: generated parts are current, and the vectors of FORMAT.md hold."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.running import maker
from wdstools.formats.manifest import dumps, loads
from wdstools.formats.sample import make_key, order_hash, shard_of, split_hash
from wdstools.formats.tar import render_header

ROOT = Path(__file__).parents[2]
FORMAT = (ROOT / "FORMAT.md").read_text()


def test_the_command_reference_is_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == maker("make_cli").render(), "run: make docs"


def test_the_python_reference_is_what_the_functions_say() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == maker("make_api").page(), "run: make docs"


def test_the_public_surface_is_the_one_that_was_agreed() -> None:
    now = maker("make_api").listing()
    assert (ROOT / "tests" / "golden" / "api.txt").read_text() == now, (
        "names or signatures have changed: run `make docs`, and look at the difference of tests/golden/api.txt"
    )


def test_the_vectors_of_format_hold() -> None:
    header = render_header(b"london/1413.txt", 5, 0x9555E8555C62DCFD)
    assert header[265:286].decode() in FORMAT
    assert header[297:318].decode() in FORMAT
    vectors = {("london", "1413"), (None, "a.b c"), (None, "café~%"), (None, "x" * 96), ("new york", "1.5")}
    for label, sample_id in vectors:
        key = make_key(label, sample_id.encode())
        assert key.decode().removeprefix("x" * 62) in FORMAT
        numbers = (order_hash(key, 0), order_hash(key, 7), shard_of(order_hash(key, 0), 80), split_hash(key, 0))
        row = f"`{numbers[0]:016x}` | `{numbers[1]:016x}` | {numbers[2]} | `{numbers[3]:016x}` |"
        assert row in FORMAT


def test_the_manifest_of_format_is_read_and_has_its_root() -> None:
    block = re.search(r"its manifest is\n\n```\n(.*?)```", FORMAT, re.DOTALL)
    assert block is not None
    manifest = loads(block[1].encode())
    assert dumps(manifest).decode() == block[1]
    assert f"`{manifest.root}`" in FORMAT


def test_the_table_of_hazards_is_that_of_the_code() -> None:
    assert maker("make_interop").hazards_table() in (ROOT / "docs" / "interop.md").read_text(), "run: make docs-interop"
