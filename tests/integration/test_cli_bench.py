"""``wdstools bench`` as a user meets it. What it measures is not looked at, only that it is sound and says what follows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Ran, assert_clean_failure, run_command
from tests.support.tools import need_module
from wdstools.executors.open import open_executor
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Browser

SAMPLES = 60
QUICK = ("--seconds", "0.05", "--batch-size", "8")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    make_source(str(folder / "source"), SAMPLES, executor=open_executor("serial"), progress=Silent())
    assert run_command("pack", folder / "source", folder / "shards", "--shard-samples", "20").code in (0, 3)
    return folder / "shards"


@pytest.fixture(scope="module")
def ran(shards: Path) -> Ran:
    (shards.parent / "pages").mkdir()
    return run_command(
        "bench", shards, *QUICK, "--json", "--threads", "2", "--html", shards.parent / "pages/bench.html"
    )


def test_it_measures_every_way_of_reading_against_its_limit(ran: Ran) -> None:
    assert ran.code == 0, ran.err
    found = ran.summary
    assert [speed["name"] for speed in found["speeds"]] == ["raw", "verified", "decoded", "batches"]
    limits = {limit["name"]: limit for limit in found["limits"]}
    assert {"memory", "storage, cold", "storage, warm", "hash", "decoder"} <= set(limits)
    for speed in found["speeds"]:
        assert speed["samples_per_s"] > 0
        assert speed["share"] > 0
        assert speed["limit"] in limits
        assert speed["bytes_per_s"] / speed["samples_per_s"] == pytest.approx(found["bytes"] / found["samples"])
    assert set(found["scaling"]) == {"1", "2"}


def test_its_times_and_sizes_are_sound(ran: Ran, shards: Path) -> None:
    found = ran.summary
    tars = list((shards / "train").glob("*.tar"))
    assert (found["shards"], found["bytes"]) == (len(tars), sum(tar.stat().st_size for tar in tars))
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= max(found["batch_ms"]) + 0.001
    assert found["first_batch_ms"] > 0
    assert 10_000_000 < found["peak_memory_bytes"] < 2_000_000_000
    assert found["bottleneck"] in {"loader", *(limit["name"] for limit in found["limits"])}
    assert any(sentence.startswith("threads: ") for sentence in found["advice"])


def test_the_page_it_writes_shows_in_a_browser_what_it_said(ran: Ran, shards: Path, browser: Browser) -> None:
    page = shards.parent / "pages/bench.html"
    assert [path.name for path in page.parent.iterdir()] == ["bench.html"]
    with browser.open(page) as opened:
        assert opened.errors == []
        assert opened.asked == [page.as_uri()]
        assert opened.texts("#advice li") == ran.summary["advice"]
        assert opened.page.locator("#latency .dot, #latency .beyond").count() == len(ran.summary["batch_ms"])


def test_it_measures_with_the_steps_that_will_train(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "own_steps.py").write_text("def top(image):\n    return image[:50]\n\n\nNOTHING = 1\n")
    for given in (("--pipeline", "resnet"), ("--transform", "own_steps:top")):
        ran = run_command("bench", shards, *QUICK, "--json", *given, cwd=tmp_path)
        assert ran.code == 0, ran.err
        limits = {limit["name"]: limit["samples_per_s"] for limit in ran.summary["limits"]}
        assert limits["pipeline"] > 0
        assert ran.summary["speeds"][-1]["limit"] == "pipeline"
        assert any(sentence.startswith("steps: ") for sentence in ran.summary["advice"])
    for bad, word in (
        ("own_steps:none", "no such function"),
        ("own_steps:NOTHING", "no such function"),
        ("no_such_module:f", "cannot be imported"),
        ("f", "not a function"),
    ):
        ran = run_command("bench", shards, "--transform", bad, cwd=tmp_path)
        assert_clean_failure(ran, 2)
        assert word in ran.err
    assert_clean_failure(run_command("bench", shards, "--pipeline", "clip", "--transform", "a:b"), 2)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("def mine(image):\n    return image[::0]\n", "ValueError"),
        ("def mine(image, random):\n    raise KeyError('x')\n", "KeyError"),
        ("1 // 0\n", "ZeroDivisionError"),
    ],
)
def test_an_error_of_the_users_function_is_told_as_the_users(
    shards: Path, tmp_path: Path, code: str, error: str
) -> None:
    (tmp_path / "own_mistake.py").write_text(code)
    ran = run_command("bench", shards, *QUICK, "--transform", "own_mistake:mine", "--json", cwd=tmp_path, cold=True)
    assert (ran.code, ran.error["code"]) == (2, "function-failed")
    assert error in ran.error["got"]
    assert "own_mistake.py, line " in ran.error["got"]
    assert "own_mistake:mine" in ran.error["where"]


def test_nothing_is_written_into_the_dataset(ran: Ran, shards: Path) -> None:
    assert ran.code == 0
    assert run_command("verify", shards).code == 0


def test_a_rate_that_is_wanted_and_missed_is_exit_1_and_one_that_is_reached_0(shards: Path) -> None:
    missed = run_command("bench", shards, *QUICK, "--min", "100000000", "--shuffle", "none")
    assert missed.code == 1
    assert "slower than wanted" in missed.out
    assert "100,000,000 images/s are more than" in missed.out
    assert run_command("bench", shards, *QUICK, "--min", "0.001", "--shuffle", "block").code == 0


@pytest.mark.slow
def test_a_peer_is_measured_beside_ours(shards: Path) -> None:
    need_module("webdataset")
    ran = run_command("bench", shards, *QUICK, "--json", "--compare", "webdataset")
    assert ran.code == 0, ran.err
    (peer,) = ran.summary["peers"]
    assert (peer["name"], peer["limit"]) == ("webdataset", "batches")
    assert peer["samples_per_s"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--split", "nowhere"), "train"),
        (("--batch-size", "0"), "at least 1"),
        (("--batch-size", "61"), "1 to "),
        (("--shuffle", "some"), "full, block or none"),
        (("--seconds", "0"), "--seconds"),
        (("--threads", "0"), "--threads"),
        (("--compare", "nobody"), "webdataset, datasets, dali or webshart  got nobody"),
    ],
)
def test_what_cannot_be_measured_is_refused(shards: Path, options: tuple[str, ...], words: str) -> None:
    ran = run_command("bench", shards, *QUICK, *options)
    assert_clean_failure(ran, 2)
    assert words in ran.err


def test_no_dataset_and_a_missing_shard_are_told(shards: Path, tmp_path: Path) -> None:
    assert_clean_failure(run_command("bench", tmp_path), 4)
    shutil.copytree(shards, tmp_path / "copy")
    (tmp_path / "copy/train/train-000000.tar").unlink()
    assert_clean_failure(run_command("bench", tmp_path / "copy", *QUICK), 4)
