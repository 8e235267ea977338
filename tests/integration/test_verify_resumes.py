"""A check that was killed goes on where it was; what it believes is said, bound to root, level and place, and ours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.added_columns import add_scores
from tests.support.command import run_command
from tests.support.damaged_dataset import flipped, make_dataset, shards_of
from tests.support.laws import LAW
from wdstools.checks.batch import Look, batches
from wdstools.checks.columns import check_columns
from wdstools.errors import FormatError, StoreError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import ShardEntry
from wdstools.ops.verify import scrub
from wdstools.stores.abilities import exclusive
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wdstools.executors.base import Item, Outcome, Tick, Value, Work


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("resumes"), train=20, val=6, shard_samples=3)


@pytest.fixture(name="dataset")
def _dataset(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "set")


class Killed(Serial):
    """Is killed after so many items."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        for outcome in super().map(work, items, tick):
            if outcome.index == self._after:
                raise KeyboardInterrupt
            yield outcome


def _report(state: Path) -> Path:
    (found,) = state.iterdir()
    return found


def _killed(dataset: Path, state: Path, after: int, **choices: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        wt.verify(dataset, resume=True, state=state, executor=Killed(after), **choices)


@pytest.mark.parametrize("level", ["digest", "samples"])
def test_a_check_that_was_killed_goes_on_where_it_was(dataset: Path, tmp_path: Path, level: Any) -> None:
    shards, state = len(shards_of(dataset)), tmp_path / "state"
    _killed(dataset, state, 3, level=level)
    again = wt.verify(dataset, resume=True, state=state, level=level)
    assert (again.checked["passed_over"], again.checked["shards"]) == (3, shards - 3)
    assert (again.ok, again.proved, again.believed) == (True, wt.Proved.NOTHING, str(_report(state)))
    anew = wt.verify(dataset, resume=True, state=state, level=level)
    assert (anew.checked["passed_over"], anew.checked["shards"], anew.believed) == (0, shards, None)


def test_the_command_says_what_it_believed(dataset: Path, tmp_path: Path) -> None:
    _killed(dataset, tmp_path / "state", 3)
    command = ("verify", dataset, "--resume", "--state", tmp_path / "state")
    copied = shutil.copytree(tmp_path / "state", tmp_path / "same")
    ran = run_command(*command)
    assert ran.code == 0
    assert f"trusted because of earlier checks: 3 shards ({_report(tmp_path / 'state')})" in ran.out
    assert "not proved" in ran.out
    answer = run_command(*command[:-1], copied, "--json").summary
    assert (answer["believed"], answer["checked"]["passed_over"]) == (str(_report(copied)), 3)


def test_what_was_not_whole_is_looked_at_again_with_its_index(dataset: Path, tmp_path: Path) -> None:
    first, second = (wt.open_dataset(dataset).manifest.shards[at][1] for at in (0, 1))
    (dataset / first.path).write_bytes(flipped((dataset / first.path).read_bytes(), 3000, 1))
    (dataset / second.index_path).unlink()
    _killed(dataset, tmp_path / "state", 4)
    again = wt.verify(dataset, resume=True, state=tmp_path / "state")
    assert again.checked["passed_over"] == 2
    assert {finding.path for finding in again.findings} == {first.path, second.index_path}


def test_a_file_that_has_changed_since_is_looked_at_again(dataset: Path, tmp_path: Path) -> None:
    paths = [dataset / entry.path for _, entry in wt.open_dataset(dataset).manifest.shards[:3]]
    _killed(dataset, tmp_path / "state", 3)
    paths[0].write_bytes(flipped(paths[0].read_bytes(), 3000, 1))
    paths[1].unlink()
    again = wt.verify(dataset, resume=True, state=tmp_path / "state")
    assert again.checked["passed_over"] == 1
    assert {finding.path for finding in again.findings} == {str(path.relative_to(dataset)) for path in paths[:2]}


def test_what_was_seen_is_bound_to_root_level_digest_and_place(dataset: Path, made: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    _killed(dataset, state, 3)
    for other in ({"level": "samples"}, {"digest": "sha256"}, {"at": made}):
        found = wt.verify(dataset, max_age=1e6, state=state, **other)
        assert (found.checked["passed_over"], found.believed) == (0, None)
    another = make_dataset(tmp_path / "another", train=21, val=6, shard_samples=3)
    assert wt.verify(another, max_age=1e6, state=state).checked["passed_over"] == 0
    assert wt.verify(dataset, max_age=1e6, state=state).checked["passed_over"] == 3


def test_a_report_that_was_torn_anywhere_believes_no_more_than_it_says(made: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    _killed(made, state, 5)
    report = _report(state)
    data, passed = report.read_bytes(), set()
    first = data.index(b"\n") + 1
    for end in [0, *range(first, len(data), 97), len(data)]:
        report.write_bytes(data[:end])
        found = wt.verify(made, max_age=1e6, state=state)
        assert found.ok
        assert found.checked["passed_over"] <= data[:end].count(b"\n")
        passed.add(found.checked["passed_over"])
        lines = report.read_bytes().splitlines()
        assert json.loads(lines[-1])["whole"], "what was looked at now is noted behind the torn line"
    assert passed == set(range(6))


def _of_another_root(report: Path) -> None:
    lines = report.read_text().splitlines(keepends=True)
    lines[0] = json.dumps({**json.loads(lines[0]), "root": "0" * 64}, sort_keys=True) + "\n"
    report.write_text("".join(lines))


def _of_others(report: Path) -> None:
    report.chmod(0o666)


def _linked(report: Path) -> None:
    report.rename(report.with_suffix(".elsewhere"))
    report.symlink_to(report.with_suffix(".elsewhere"))


def _not_marked(report: Path) -> None:
    report.write_text("".join(report.read_text().splitlines(keepends=True)[1:]))


def _piped(report: Path) -> None:
    report.unlink()
    os.mkfifo(report, 0o600)


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        (_of_another_root, FormatError, "state-damaged"),
        (_not_marked, FormatError, "state-damaged"),
        (_of_others, StoreError, "state-not-ours"),
        (_linked, StoreError, "state-not-ours"),
        (_piped, StoreError, "state-not-ours"),
    ],
)
def test_a_report_that_is_not_ours_is_refused(
    made: Path, tmp_path: Path, change: Any, error: type[wt.WdsError], code: str
) -> None:
    _killed(made, tmp_path / "state", 3)
    change(_report(tmp_path / "state"))
    with pytest.raises(error) as caught:
        wt.verify(made, resume=True, state=tmp_path / "state")
    assert caught.value.code == code
    assert "rm " in caught.value.hint or "mv " in caught.value.hint


def test_parts_note_what_they_saw_in_one_report(dataset: Path, tmp_path: Path) -> None:
    shards, state = len(shards_of(dataset)), tmp_path / "state"
    for number in (1, 2):
        assert wt.verify(dataset, resume=True, state=state, part=(number, 3)).ok
    last = wt.verify(dataset, resume=True, state=state)
    assert last.checked["shards"] + last.checked["passed_over"] == shards
    assert last.checked["passed_over"] == sum(len(range(number, shards, 3)) for number in (0, 1))


def test_a_report_that_is_written_anew_loses_no_line_of_another_part(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two parts read a long report; while the one writes it anew, the other adds what it has seen."""
    monkeypatch.setattr(scrub, "_MANY", 1)
    opened, folder = wt.open_dataset(made), str(tmp_path / "state")
    paths = [entry.path for _, entry in opened.manifest.shards]
    options = scrub.ScrubOptions(folder, now=lambda: 1.0)
    first = options.open(opened, "digest", ["all of them"])
    first.note((path, True) for path in paths[:2])
    late = options.open(opened, "digest", ["all of them"])
    put, adding = LocalStore.put, []

    def slow_put(self: LocalStore, key: str, data: bytes) -> None:
        adding.append(threading.Thread(target=late.note, args=([(paths[-1], True)],)))
        adding[0].start()
        adding[0].join(0.3)  # it waits for its turn; without one it has added its line by now
        put(self, key, data)

    monkeypatch.setattr(LocalStore, "put", slow_put)
    for _ in range(2):
        first.note((path, True) for path in paths[:2])
    options.open(opened, "digest", ["all of them"])
    (thread,) = adding
    thread.join()
    seen = options.open(opened, "digest", ["all of them"]).seen
    assert sorted(seen) == sorted({*paths[:2], paths[-1]})


def test_a_report_that_another_part_has_just_written_anew_is_left_to_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this part has locked is no longer the report: a third one may be adding to the new one."""
    monkeypatch.setattr(scrub, "_MANY", 1)
    opened, folder = wt.open_dataset(made), str(tmp_path / "state")
    paths = [entry.path for _, entry in opened.manifest.shards]
    options = scrub.ScrubOptions(folder, now=lambda: 1.0)
    run = options.open(opened, "digest", ["all of them"])
    for _ in range(4):
        run.note((path, True) for path in paths[:2])
    lock, before = exclusive, _report(tmp_path / "state").read_bytes()

    @contextlib.contextmanager
    def late(fd: int, path: str) -> Iterator[bool]:
        os.replace(shutil.copy(path, f"{path}.new"), path)
        with lock(fd, path) as held:
            yield held

    monkeypatch.setattr(scrub, "exclusive", late)
    assert sorted(options.open(opened, "digest", ["all of them"]).seen) == sorted(paths[:2])
    assert _report(tmp_path / "state").read_bytes() == before
    monkeypatch.setattr(scrub, "exclusive", lock)
    options.open(opened, "digest", ["all of them"])
    assert len(_report(tmp_path / "state").read_bytes()) < len(before)


def test_a_lock_whose_owner_is_gone_is_waited_for_once(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def held_by_another(_: int, path: str) -> contextlib.nullcontext[bool]:
        tries.append(path)
        return contextlib.nullcontext(enter_result=False)

    monkeypatch.setattr(scrub, "_TURNS", 100)
    monkeypatch.setattr(scrub, "_TURN_SECONDS", 0)
    monkeypatch.setattr(scrub, "exclusive", held_by_another)
    opened = wt.open_dataset(made)
    options = scrub.ScrubOptions(str(tmp_path / "state"), now=lambda: 1.0)
    run = options.open(opened, "digest", ["all of them"])
    paths = [entry.path for _, entry in opened.manifest.shards]
    for path in paths:
        run.note([(path, True)])
    assert 100 <= len(tries) < 200
    assert sorted(options.open(opened, "digest", ["all of them"]).seen) == sorted(paths)


def test_added_columns_are_checked_a_little_at_a_time_too(dataset: Path, tmp_path: Path) -> None:
    add_scores(dataset)
    shards, state = len(shards_of(dataset)), tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        wt.verify(dataset, resume=True, state=state, executor=_KilledAtColumns(2))
    again = wt.verify(dataset, resume=True, state=state)
    assert (again.checked["shards"], again.checked["passed_over"]) == (0, shards)
    assert (again.checked["column_files"], again.checked["column_files_passed_over"]) == (shards - 2, 2)
    assert again.proved is wt.Proved.NOTHING
    later = wt.verify(dataset, max_age=3600, time_limit=0, state=state)
    assert later.checked["waiting"] == 0
    (one, *_) = sorted(dataset.rglob(".wdstools/columns/scores/**/*.parquet"))
    one.write_bytes(flipped(one.read_bytes(), 9, 1))
    found = wt.verify(dataset, max_age=3600, state=state)
    assert (found.checked["column_files"], [finding.kind for finding in found.findings]) == (1, ["columns"])
    assert wt.verify(dataset, max_age=0, time_limit=0, state=state).checked["waiting"] == 2 * shards


class _KilledAtColumns(Killed):
    """Is killed after so many files of columns, and does everything else."""

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        others: bool = work is not check_columns
        return Serial().map(work, items, tick) if others else super().map(work, items, tick)


def _looks(sizes: list[int]) -> list[Look]:
    return [Look("train", ShardEntry(f"{n}", size, 1, "", "", "", "", "")) for n, size in enumerate(sizes)]


@LAW
@given(
    st.lists(st.integers(0, 4 << 30), max_size=80),
    st.sampled_from(["size", "remote", "digest", "decode"]),
    st.integers(1, 9),
)
def test_batches_hold_every_shard_once_in_order_and_leave_work_for_all(sizes: list[int], level: str, jobs: int) -> None:
    looks, total = _looks(sizes), sum(sizes)
    cut = list(batches(looks, level, total=total, jobs=jobs, near=True))
    assert [look for some in cut for look in some] == looks
    for some in cut:
        size = sum(look.entry.bytes for look in some)
        assert len(some) == 1 or size <= total // (8 * jobs)
        assert len(some) == 1 or level != "digest" or size <= 4 << 30


def test_small_shards_by_the_thousand_are_few_tasks() -> None:
    small, large = _looks([1 << 20] * 20_000), _looks([64 << 20] * 8000)
    assert len(list(batches(small, "digest", total=20_000 << 20, jobs=1, near=True))) == 10  # of 2,000 shards
    assert len(list(batches(small, "digest", total=20_000 << 20, jobs=1, near=False))) == 80  # of 250
    assert len(list(batches(large, "digest", total=8000 << 26, jobs=4, near=True))) == 125  # of 4 GiB
