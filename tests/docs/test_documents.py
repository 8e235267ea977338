"""The documents say what the code does: generated parts are current, and what README shows runs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import HANG_SECONDS
from wdstools.executors.open import open_executor
from wdstools.formats.manifest import dumps, loads
from wdstools.formats.sample import make_key, order_hash, shard_of, split_hash
from wdstools.formats.tar import render_header
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FORMAT = (ROOT / "FORMAT.md").read_text()
WDSTOOLS = [sys.executable, "-m", "wdstools"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which README's names exist."""
    folder = tmp_path_factory.mktemp("readme")
    make_source(str(folder / "InstaCities1M"), 60, executor=open_executor("serial"), progress=Silent())
    shutil.make_archive(str(folder / "photos"), "zip", folder / "InstaCities1M")
    return folder


def _run(place: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*WDSTOOLS, *arguments], cwd=place, capture_output=True, input=stdin, check=False, timeout=HANG_SECONDS
    )


def _maker(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == _maker("make_cli").render(), "run: make docs"


def test_the_python_reference_is_what_the_functions_say() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == _maker("make_api").page(), "run: make docs"


def test_the_public_surface_is_the_one_that_was_agreed() -> None:
    now = _maker("make_api").listing()
    assert (ROOT / "tests" / "golden" / "api.txt").read_text() == now, (
        "names or signatures have changed: run `make docs`, and look at the difference of tests/golden/api.txt"
    )


def test_every_command_of_readme_works(place: Path) -> None:
    block = re.search(r"## Pack, verify, read\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    texts = [text.partition("#")[0] for text in block[1].splitlines()]
    key = ""
    for line in (part.strip() for text in texts for part in text.split(";") if part.strip()):
        if " pack " in line:
            shutil.rmtree(place / "shards", ignore_errors=True)
        if not key and " cat " in line:
            key = _run(place, "ls", "shards", "train").stdout.split()[0].decode()
        if line.startswith("cat "):
            found = _run(place, "verify", "-", stdin=(place / "shards/train/train-000000.tar").read_bytes())
        elif line.endswith("SHA256SUMS"):
            found = _run(place, "verify", "shards/SHA256SUMS")
        else:
            arguments = line.replace("london/1413", key).split()
            assert arguments[0] == "wdstools"
            found = _run(place, *arguments[1:])
        assert found.returncode in (0, 3), (line, found.stderr.decode())
        assert b"Traceback" not in found.stderr


def test_the_python_of_readme_works(place: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.rmtree(place / "shards", ignore_errors=True)
    assert _run(place, "pack", "InstaCities1M", "shards").returncode in (0, 3)
    key = _run(place, "ls", "shards", "train").stdout.split()[0].decode()
    _run(place, "pack", "InstaCities1M", "copy")
    code = (
        blocks[0]
        .replace('"shards", shard', '"shards-again", shard')
        .replace("123_456", "1")
        .replace("london/1413...", key)
    )
    reader = blocks[1].replace("{000000..000079}", "000000")
    done = subprocess.run(
        [sys.executable, "-c", code + reader], cwd=place, capture_output=True, check=False, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr.decode()


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
    spec = importlib.util.spec_from_file_location("make_interop", ROOT / "docs" / "make_interop.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.hazards_table() in (ROOT / "docs" / "interop.md").read_text(), "run: make docs-interop"


def test_the_commands_of_readme_for_others_work(place: Path) -> None:
    block = re.search(r"### What others made, and what others read\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    for name in ("shards", "their-shards", "theirs", "clean"):
        shutil.rmtree(place / name, ignore_errors=True)
    assert _run(place, "pack", "InstaCities1M", "shards").returncode in (0, 3)
    shutil.copytree(place / "shards/train", place / "their-shards/train")
    for line in (part.strip() for text in block[1].splitlines() for part in text.partition("#")[0].split(";")):
        arguments = line.split()[1:]
        arguments += ["--for", "webdataset"] if arguments[0] == "doctor" else []
        found = _run(place, *arguments)
        assert found.returncode == 0, (line, found.stderr.decode(), found.stdout.decode())
