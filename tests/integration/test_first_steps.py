"""What people meet in their first hour: slips of the hand, told as what they are, with nothing left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wdstools
from tests.support.city_pairs import write_city_pairs
from tests.support.command import COMMAND, HANG_SECONDS, environment, run_command
from tests.support.outcome import snapshot

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("first") / "my photos")


def test_a_caption_template_that_fits_nothing_is_not_called_a_lack_of_images(source: Path, tmp_path: Path) -> None:
    layout = ("--image", "img/{split}/{label}/{id}.jpg", "--caption", "nope/{split}/{label}/{id}.txt")
    ran = run_command("pack", source, tmp_path / "out", *layout, "--json")
    assert ran.code == 4
    assert ran.error["message"] == "no image has a caption"
    assert ran.error["expected"] == "nope/{split}/{label}/{id}.txt"
    assert os.listdir(tmp_path) == ["out.skipped.jsonl"]


def test_a_destination_inside_the_source_is_refused(source: Path) -> None:
    before = snapshot(source)
    ran = run_command("pack", source, source / "out", "--json")
    assert (ran.code, ran.error["code"]) == (2, "destination-in-source")
    with pytest.raises(wdstools.UsageError, match="inside the source"):
        wdstools.pack(str(source), str(source / "img" / "out"))
    assert snapshot(source) == before


@pytest.mark.parametrize("options", [("--only", "png"), ()], ids=["by name", "by content"])
def test_a_pack_of_nothing_is_refused_and_leaves_only_the_list_of_why(options: tuple[str, ...], tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.jpg").write_bytes(b"no image")
    ran = run_command("pack", tmp_path / "in", tmp_path / "out", *options, "--json")
    assert (ran.code, ran.error["code"]) == (2, "source-empty")
    assert "a.jpg: image-not-" in ran.error["got"]
    assert str(tmp_path / "out.skipped.jsonl") in ran.error["hint"]
    assert sorted(os.listdir(tmp_path)) == ["in", "out.skipped.jsonl"]
    listed = [json.loads(line) for line in (tmp_path / "out.skipped.jsonl").read_text().splitlines()]
    assert [skip["path"] for skip in listed] == ["a.jpg", "b.jpg"]
    assert run_command("pack", tmp_path / "in", tmp_path / "out", *options).code == 2
    assert sorted(os.listdir(tmp_path)) == ["in", "out.skipped.jsonl"], "the same list is kept once"


def test_a_ratio_that_is_no_number_is_not_taken_for_a_file(source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "out", "--split", "train=80,val=x", "--json")
    assert (ran.code, ran.error["message"]) == (2, "not ratios")


def test_what_is_printed_to_be_pasted_can_be_pasted(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "my shards"
    ran = run_command("pack", source, dest)
    assert ran.code == 0
    (line,) = (line for line in ran.err.splitlines() if line.startswith("check:"))
    command = line.removeprefix("check:").partition("   (or")[0].strip().removeprefix("wdstools ")
    pasted = run_command(*shlex.split(command))
    assert pasted.code == 0, pasted.err


def test_an_interrupted_command_says_so(source: Path, tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)  # the command waits here for the list of splits
    # a job in the background of a shell would not hear of it
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{listening}; from wdstools.cli.app import main; main()"]
    process = subprocess.Popen(
        [*command, "pack", source, tmp_path / "out", "--split", f"train={held}"],
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with open(held, "w", encoding="utf-8"):  # opened: the command is at the list, inside its own code
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 130
    assert told.startswith(b"interrupted: no file was left half-written")


def test_a_device_for_a_list_of_keys_is_refused(source: Path, tmp_path: Path) -> None:
    wdstools.pack(str(source), str(tmp_path / "shards"))
    ran = run_command("extract", tmp_path / "shards", tmp_path / "out", "--keys", "/dev/zero", "--json")
    assert (ran.code, ran.error["code"]) == (4, "not-found")


def test_datasets_may_be_given_by_their_paths(source: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "shards")
    wdstools.pack(str(source), dest)
    assert wdstools.verify(dest).findings == ()
    assert wdstools.find_duplicates(dest, level="exact").level == "exact"


def test_an_error_tells_what_to_do_in_a_traceback_too() -> None:
    error = wdstools.UsageError("no", hint="try yes")
    assert error.__notes__ == ["  hint: try yes"]


def test_compiled_loops_work_where_no_folder_can_be_written(tmp_path: Path) -> None:
    """As in a container of another user: numba then has nowhere to keep what it compiled."""
    code = (
        "import numba.core.caching as caching; caching.CacheImpl._locator_classes = []\n"
        "import numpy as np; from wdstools.kernels import jit\n"
        "print(jit(lambda a: a.sum() + 1)(np.arange(4)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ran.stdout, ran.returncode) == ("7\n", 0), ran.stderr


@pytest.mark.parametrize("command", ["duplicates", "bench"])
def test_a_page_that_is_no_file_is_refused_before_the_work(command: str, source: Path, tmp_path: Path) -> None:
    wdstools.pack(str(source), str(tmp_path / "shards"))
    for page in ("", str(tmp_path)):
        ran = run_command(command, tmp_path / "shards", "--html", page, "--json")
        assert (ran.code, ran.error["where"]) == (2, "--html")
    assert not (tmp_path / "shards/.wdstools/hashes").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_commands_start_no_threads_for_linear_algebra() -> None:
    """On every core one would wait for work, for a tenth of a second."""
    code = (
        "import sys; sys.argv = ['wdstools', '--version']\n"
        "from wdstools.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import numpy, os; print(len(os.listdir('/proc/self/task')))"
    )
    plain = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)
    assert done.stdout.split()[-1] == "1"


def test_too_little_memory_is_said_and_is_no_bug(tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=4, val=0)
    codes = set()
    for kilobytes in (150_000, 250_000):
        limited = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh", *COMMAND, "pack", str(source), "out", "-j1"]
        ran = subprocess.run(limited, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert "Traceback" not in ran.stderr
        assert "bug in wdstools" not in ran.stderr
        codes.add(ran.returncode)
    assert 4 in codes


@pytest.mark.parametrize("module", ["typer", "wdstools.cli.session", "wdstools.sources.open"])
def test_an_interrupt_while_libraries_are_read_ends_without_a_traceback(module: str, source: Path) -> None:
    code = (
        "import builtins, sys\n"
        "real = builtins.__import__\n"
        "def read(name, *rest):\n"
        f"    if name == {module!r}: raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = read\n"
        f"sys.argv = ['wdstools', 'scan', {str(source)!r}]\n"
        "from wdstools.cli.entry import main\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 130
    assert ran.stderr.startswith("interrupted")
    assert "Traceback" not in ran.stderr


def test_scan_and_pack_import_no_pandas(tmp_path: Path) -> None:
    """pyarrow imports it for a comparison with a constant, where it is installed: a quarter of a second."""
    source = write_city_pairs(tmp_path / "source", train=4, val=2)
    for command in (["scan", str(source)], ["pack", str(source), str(tmp_path / "out"), "-j1"]):
        code = (
            f"import sys; sys.argv = ['wdstools', *{command!r}]\n"
            "from wdstools.cli.app import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "print('pandas' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1] == "False"
