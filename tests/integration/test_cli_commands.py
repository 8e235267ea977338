"""Every command as a user types it: what it prints where, what it exits with, and its JSON lines."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import COMMAND, environment, run_command, start_command
from tests.support.outcome import assert_complete, snapshot
from tests.support.warm import REPOSITORY
from wdstools import __version__
from wdstools.cli.program import AREAS, EXIT_CODES

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    "scan",
    "pack",
    "verify",
    "info",
    "demo",
    "ls",
    "head",
    "cat",
    "stats",
    "view",
    "bench",
    "repair",
    "append",
    "remove",
    "diff",
    "extract",
    "duplicates",
    "adopt",
    "emit",
    "doctor",
    "mirror",
    "columns",
    "sign",
    "schema",
    "pull",
)


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("commands") / "source", damaged=True)


@pytest.fixture(scope="module", name="dataset")
def _dataset(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("commands-out") / "dataset"
    ran = run_command("pack", source, dest, "--shard-samples", "10", "--name", "pairs")
    assert ran.code == 3, ran.err
    return dest


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_tells_the_exit_codes(command: tuple[str, ...]) -> None:
    ran = run_command(*command, "--help")
    assert ran.code == 0
    text = re.sub(r"\s+", " ", ran.out)
    for code, meaning in EXIT_CODES:
        assert f"{code} {meaning}" in text
    assert not ran.err


def test_help_lists_every_command_and_no_other() -> None:
    told = run_command("--help").out
    assert set(re.findall(r"^  ([a-z]+)  +[A-Z]", told, re.MULTILINE)) == set(COMMANDS)
    assert [f"{title}:" in told.splitlines() for title in AREAS.values()] == [True] * len(AREAS)


def test_the_version_is_printed() -> None:
    assert run_command("--version").out == f"wdstools {__version__}\n"


def test_scan_counts_and_writes_nothing(source: Path) -> None:
    before = snapshot(source)
    ran = run_command("scan", source, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.summary["type"] == "summary"
    assert ran.summary["samples"] == {"train": {"oslo": 16, "rome": 15}, "val": {"oslo": 5, "rome": 5}}
    assert ran.summary["members"] == ["jpg", "txt", "cls"]
    assert snapshot(source) == before
    assert "41 samples" in run_command("scan", source).out


def test_pack_counts_names_the_skipped_and_exits_3(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    ran = run_command("pack", source, dest, "--json", "--shards", "2")
    assert (ran.code, ran.err) == (3, "")
    assert ran.summary["exit_code"] == 3
    assert ran.summary["samples"] == {"train": 30, "val": 10}
    assert sum(ran.summary["skipped"].values()) == 1
    assert ran.summary["leaks"] == {"train/val": 0}
    assert_complete(dest)
    (skip,) = map(json.loads, (dest / ".wdstools/skipped.jsonl").read_text().splitlines())
    assert skip["path"].endswith("img/train/oslo/cut.jpg")


def test_pack_fails_at_the_first_bad_sample_when_told_so(source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "out", "--json", "--on-error", "fail")
    assert (ran.code, ran.out) == (4, "")
    assert ran.error["exit_code"] == 4
    assert ran.error["where"].endswith("cut.jpg")
    assert not (tmp_path / "out").exists()


def test_an_image_in_two_splits_is_counted_and_exits_1_only_when_asked(source: Path, tmp_path: Path) -> None:
    leaky = write_city_pairs(tmp_path / "leaky", train=6, val=3)
    (leaky / "img/val/oslo/100000.jpg").write_bytes((leaky / "img/train/oslo/0.jpg").read_bytes())
    ran = run_command("pack", leaky, tmp_path / "a", "--json")
    assert (ran.code, ran.summary["leaks"]) == (0, {"train/val": 1})
    assert run_command("pack", leaky, tmp_path / "b", "--fail-on-leak").code == 1
    assert_complete(tmp_path / "b")


def test_info_tells_totals_and_root(dataset: Path) -> None:
    ran = run_command("info", dataset, "--json")
    assert (ran.code, ran.err, len(ran.lines)) == (0, "", 1)
    assert ran.summary["totals"]["samples"] == 40
    assert ran.summary["splits"] == {"train": 30, "val": 10}
    assert ran.summary["root"] in run_command("info", dataset).out


def test_ls_lists_shards_splits_and_single_shards(dataset: Path) -> None:
    shards = run_command("ls", dataset, "--json").lines
    assert [line["type"] for line in shards] == ["shard"] * 5 + ["summary"]
    assert sum(line["samples"] for line in shards[:-1]) == 40
    keys = run_command("ls", dataset, "train").out.splitlines()
    assert len(set(keys)) == 30
    by_shard = [run_command("ls", dataset, name).out.splitlines() for name in ("train-000000", "train-000001.tar")]
    assert keys[: len(by_shard[0]) + len(by_shard[1])] == by_shard[0] + by_shard[1]


def test_cat_gives_back_the_very_bytes_of_the_source(source: Path, dataset: Path) -> None:
    for key, folder, extension in (("oslo/0", "img", "jpg"), ("rome/9", "captions", "txt")):
        ran = run_command("cat", dataset, f"{key}.{extension}")
        assert (ran.code, ran.err) == (0, "")
        assert ran.raw == (source / folder / "train" / f"{key}.{extension}").read_bytes()
    assert run_command("cat", dataset, "rome/9.cls").raw == b"1"


def test_cat_takes_the_names_that_people_have(tmp_path: Path) -> None:
    files = {
        "train/IMG 1.v2.jpg": tiny_jpeg(1),
        "train/IMG 1.v2.txt": b"one",
        "val/sub/2.JPEG": tiny_jpeg(2),
        "val/sub/2.txt": b"two",
    }
    for name, data in files.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    assert run_command("pack", tmp_path / "src", tmp_path / "out", "-q").code == 0
    for name, found in {
        "IMG%201%2Ev2": b"one", "train/IMG 1.v2.txt": b"one", "IMG 1.v2.jpg": tiny_jpeg(1), "src/train/IMG 1.v2.txt": b"one",
        "val/sub/2.jpg": tiny_jpeg(2), "val/sub/2.JPEG": tiny_jpeg(2), "2.txt": b"two", "sub/2": b"two",
    }.items():  # fmt: skip
        ran = run_command("cat", tmp_path / "out", name)
        assert (ran.code, ran.raw) == (0, found), name
    assert (
        run_command("cat", tmp_path / "out", "3.txt").code,
        "sample-missing" in run_command("cat", tmp_path / "out", "3").err,
    ) == (4, True)
    assert run_command("cat", tmp_path / "out", "sub/2.cls").code == 4


def test_the_answer_goes_to_stdout_and_what_to_do_next_to_stderr(source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "out", "--no-progress")
    assert "root digest" in ran.out
    assert "wdstools verify" in ran.err
    quiet = run_command("pack", source, tmp_path / "quiet", "-q")
    assert "root digest" in quiet.out
    assert len(quiet.out.splitlines()) == 3, "what was packed, what was skipped, the root digest"
    assert quiet.err == ""


def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    ran = run_command("demo", tmp_path / "demo", "--samples", "60", "--json", "-j", "2")
    assert ran.code == 0, ran.err
    assert ran.summary["ok"] is True
    assert_complete(tmp_path / "demo/shards")
    assert run_command("verify", tmp_path / "demo/damaged").code == 1
    told = run_command("demo", tmp_path / "demo")
    assert (told.code, "the folder already exists" in told.err) == (4, True)


def test_the_demo_prints_commands_that_work(tmp_path: Path) -> None:
    ran = run_command("demo", "here", "--samples", "60", cwd=tmp_path)
    assert ran.code == 0, ran.err
    commands = [line[2:].partition("    #")[0] for line in ran.out.splitlines() if line.startswith("$ ")]
    packs = [line for line in commands if line.startswith("wdstools pack")]
    assert packs
    # the commands are found where the tests' own interpreter is
    path = f"{os.path.dirname(COMMAND[0])}{os.pathsep}{os.environ['PATH']}"
    for number, command in enumerate(commands):
        again = command.replace("here/shards --name", f"again{number} --name")
        done = subprocess.run(
            ["sh", "-c", again], cwd=tmp_path, capture_output=True, env=environment(PATH=path), check=False
        )
        expected = 1 if "here/damaged" in command else 0
        assert done.returncode == expected, (again, done.stderr)


@pytest.mark.parametrize("command", [("ls",), ("ls", "train"), ("info",), ("verify",)])
def test_a_reader_that_leaves_early_is_no_error(dataset: Path, command: tuple[str, ...]) -> None:
    name, *rest = command
    with start_command(name, dataset, *rest) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err
    assert process.returncode in (0, 141, -13)


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
@pytest.mark.parametrize("command", ["ls", "verify", "repair -n", "--version", "--help"])
def test_output_that_cannot_be_written_is_a_failure_not_a_bug(command: str, where: str, dataset: Path) -> None:
    for unbuffered in ("", "1"):
        line = f"wdstools {command}{'' if command.startswith('--') else f' {dataset}'} {where}"
        done = in_shell(line, PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 4, done.stderr
        assert done.stderr.startswith(b"error: output-failed: ")


def test_a_standard_input_that_is_closed_is_no_damaged_shard(dataset: Path, tmp_path: Path) -> None:
    for line in ("wdstools verify - <&-", f"wdstools remove {dataset} --keys - -o {tmp_path}/new -y <&-"):
        done = in_shell(line)
        assert (done.returncode, done.stderr[:7]) == (4, b"error: ")
    assert in_shell("wdstools verify - </dev/null").returncode == 1


@pytest.mark.parametrize(
    "given", ["train=0", "train=-1", "train=80,val=-20", "train=80,train=20", "train=80%", "train="]
)
def test_splits_that_can_be_neither_ratios_nor_lists_are_wrong_usage(given: str, dataset: Path, tmp_path: Path) -> None:
    ran = run_command("pack", dataset, tmp_path / "new", "--split", given)
    assert ran.code == 2
    assert "train=80,val=5,test=15" in ran.err


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_messages_that_cannot_be_written_change_no_result(where: str, dataset: Path) -> None:
    whole = in_shell(f"wdstools verify {dataset} {where}")
    assert (whole.returncode, whole.stdout[:4]) == (0, b"ok: ")
    assert in_shell(f"wdstools verify {dataset}-nowhere {where}").returncode == 4
    assert in_shell(f"wdstools verify - {where} </dev/null").returncode == 1


def test_no_file_gets_the_number_of_a_standard_file_that_is_missing() -> None:
    script = "import os; from wdstools.cli.standard import open_missing; open_missing(); os._exit(os.dup(0) <= 2)"
    assert in_shell(f"python -c '{script}' <&- >&- 2>&-").returncode == 0


def test_workers_that_cannot_be_started_are_an_error_not_a_bug(dataset: Path) -> None:
    done = in_shell(f"ulimit -n 12; wdstools repair {dataset} -n -j2")
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith(b"error: no-worker: ")


@pytest.mark.parametrize("kilobytes", [90_000, 300_000, 700_000])
def test_a_command_without_enough_memory_says_so(kilobytes: int, dataset: Path) -> None:
    done = in_shell(f"ulimit -v {kilobytes}; wdstools verify {dataset}")
    assert done.returncode in (0, 4), done.stderr
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0 or b"memory" in done.stderr


@pytest.mark.parametrize("command", ["scan .", "pull {dataset} out"])
def test_a_folder_that_is_gone_is_no_bug(command: str, dataset: Path, tmp_path: Path) -> None:
    words = command.format(dataset=dataset)
    done = in_shell(
        f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir ../gone && wdstools {words}", PYTHONPATH=str(REPOSITORY)
    )
    assert done.returncode == 4, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: the working folder no longer exists")


def test_what_kills_a_command_with_limited_memory_is_told_by_its_end(dataset: Path) -> None:
    limited = f"ulimit -v 3000000; wdstools verify {dataset}"
    assert in_shell(limited).returncode == 0
    assert in_shell(f"{limited}-nowhere").returncode == 4
    assert in_shell("ulimit -v 3000000; wdstools verify - </dev/null").returncode == 1
    code = "import os; from wdstools.cli.watched import watch; watch(); os.abort()"
    aborted = in_shell(f"ulimit -v 3000000; python -c '{code}'")
    assert (aborted.returncode, aborted.stderr[:40]) == (4, b"error: there is not enough memory\n  hint: "[:40])


def in_shell(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A line of a shell in which ``wdstools`` and ``python`` are those that are tested."""
    line = line.replace("wdstools ", f"{' '.join(COMMAND)} ", 1).replace("python -c", f"{COMMAND[0]} -c")
    # buffered, as it is where nobody asks for something else
    env = environment(**{"PYTHONUNBUFFERED": "", **variables})
    return subprocess.run(["sh", "-c", line], capture_output=True, env=env, stdin=subprocess.DEVNULL, check=False)
