"""Commands that change something, to be stopped at every write: how to begin, what to do, what may be left.

``python -m tests.support.changes WORK CHANGE STEP`` kills each at every STEP-th write, with no Python code running
afterwards: ``os._exit`` in a fork of a process with one thread. It prints one JSON line per point.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

from tests.support.added_columns import add_scores, keys_of, score_of, score_table, values_of
from tests.support.city_pairs import write_city_pairs
from tests.support.damaged_dataset import make_dataset, shards_of
from tests.support.kill_sweep import HEAVY, KILLED, in_child
from tests.support.outcome import assert_complete, contents
from tests.support.write_points import WritePoints
from wdstools.dataset import STAGED_MARK, open_dataset
from wdstools.errors import NotFoundError, StoreError, UsageError
from wdstools.formats.manifest import index_path
from wdstools.ops.append import plan_append
from wdstools.ops.columns import list_columns, map_columns, plan_add_columns, plan_remove_columns
from wdstools.ops.extract import extract
from wdstools.ops.remove import plan_remove
from wdstools.ops.repair import plan_repair
from wdstools.ops.verify import verify_path
from wdstools.plan import apply
from wdstools.reader.select import Selection
from wdstools.stores.abilities import TEMP_SUFFIX


class Change:
    """A change to a copy of ``whole`` at ``place``; ``done`` is what it leaves if nothing interrupts it.

    ``stride`` widens the steps of quick sweeps over a change that takes longer.
    """

    stride = 1

    def __init__(self, work: Path) -> None:
        self.whole, self.place, self.made = work / "dataset", work / "place", work / "made"
        if not self.whole.exists():
            make_dataset(work)
        self.reset()
        self.before = self.state()
        self.act()
        self.done = self.state()
        assert self.done != self.before

    def reset(self) -> None:
        """Begin again."""
        for left in (self.place, self.made, self.made.with_name(f"made{TEMP_SUFFIX}")):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(self.whole, self.place)

    def act(self) -> None:
        """Make the change, or complete it."""
        raise NotImplementedError

    def state(self) -> str:
        """What a reader finds: the root digest of an intact dataset, or "absent"; fails for anything else."""
        raise NotImplementedError


def _root(dataset: Path) -> str:
    """The root digest of an intact dataset; "absent" if readers are told that there is none."""
    try:
        opened = open_dataset(str(dataset))
    except NotFoundError:
        return "absent"
    except StoreError as error:
        return "absent" if error.code == "change-unfinished" else str(error)
    report = verify_path(str(dataset), level="samples")
    assert report.findings == ()
    return opened.root


class Repair(Change):
    """A flipped bit, a missing shard, a missing index and a damaged card are repaired from the whole dataset."""

    def reset(self) -> None:
        """Damage it again."""
        super().reset()
        first, second, *_ = shards_of(self.whole)
        data = bytearray((self.place / first).read_bytes())
        data[700] ^= 1
        (self.place / first).write_bytes(data)
        (self.place / second).unlink()
        (self.place / index_path(first)).unlink()
        (self.place / "README.md").write_bytes(b"# mine\n")
        self.damaged = _contents(self.place)

    def act(self) -> None:
        """Plan and apply."""
        apply(plan_repair(str(self.place), spares=[str(self.whole)]))

    def state(self) -> str:
        """Damaged or intact: every file is the damaged one or the intact one, never a third."""
        now, whole = _contents(self.place), _contents(self.whole)
        owners = {path for path in now if path in {"README.md", "SHA256SUMS"} or path.endswith(".json")}
        for path, data in now.items():
            if not path.endswith(("-tmp", "/lock")) and path not in owners:
                assert data in (self.damaged.get(path), whole.get(path)), f"{path} is neither the old nor the new one"
        return "whole" if verify_path(str(self.place), level="samples").ok else "damaged"


class RemoveInPlace(Change):
    """Three samples are taken out of two shards."""

    def act(self) -> None:
        """Remove, or finish what was begun."""
        if _root(self.place) in ("absent", getattr(self, "before", _root(self.place))):
            apply(plan_remove(str(self.place), _chosen(self.whole)))

    def state(self) -> str:
        """The old root, the new one, or absent."""
        return _root(self.place)


class RemoveToNew(Change):
    """The same, into a new dataset."""

    def act(self) -> None:
        """Remove."""
        if _root(self.made) == "absent":
            apply(plan_remove(str(self.place), _chosen(self.whole), output=str(self.made)))

    def state(self) -> str:
        """Absent, or the new root; the old dataset is never touched."""
        assert _contents(self.place) == _contents(self.whole)
        if not self.made.exists():
            return "absent"
        assert_complete(self.made)
        return _root(self.made)


class AppendInPlace(Change):
    """New samples are added to the shards; one cannot be packed."""

    stride = 4
    shards: int | None = None

    def reset(self) -> None:
        """Begin again, with a source of samples that the dataset has and others that it does not."""
        super().reset()
        self.more = self.whole.with_name("more")
        if not self.more.exists():
            write_city_pairs(self.more, train=40, val=14, damaged=True)

    def act(self) -> None:
        """Append, or finish what was begun."""
        if _root(self.place) in ("absent", getattr(self, "before", _root(self.place))):
            apply(plan_append(str(self.place), str(self.more), shards=self.shards))

    def state(self) -> str:
        """The old root, the new one, or absent."""
        return _root(self.place)


class AppendAndDivide(AppendInPlace):
    """The same, with another number of shards."""

    shards = 2


class AppendToNew(AppendInPlace):
    """The same, into a new dataset."""

    def act(self) -> None:
        """Append."""
        if _root(self.made) == "absent":
            apply(plan_append(str(self.place), str(self.more), output=str(self.made)))

    def state(self) -> str:
        """Absent, or the new root; the old dataset is never touched."""
        assert _contents(self.place) == _contents(self.whole)
        if not self.made.exists():
            return "absent"
        assert_complete(self.made)
        return _root(self.made)


class Extract(Change):
    """All samples are written as files."""

    def act(self) -> None:
        """Extract."""
        if not self.made.exists():
            extract(open_dataset(str(self.place)), str(self.made))

    def state(self) -> str:
        """Absent, or every file."""
        assert _contents(self.place) == _contents(self.whole)
        if not self.made.exists():
            return "absent"
        found = sum(len(data) for data in _contents(self.made).values())
        dataset = open_dataset(str(self.whole))
        wanted = sum(
            len(sample[ext]) for split in dataset.splits for sample in dataset[split] for ext in ("jpg", "txt")
        )
        assert found == wanted
        return "complete"


class AddColumns(Change):
    """A score, captions and vectors are added to the samples."""

    stride = 3

    def act(self) -> None:
        """Add, or finish what was begun."""
        while self.state() == "none" or (self.place / STAGED_MARK).exists():
            apply(plan_add_columns(str(self.place), score_table(keys_of(self.place)), name="scores"))

    def state(self) -> str:
        """No columns, or all of them; the samples are intact in any case."""
        _root(self.place)
        found = list_columns(self.place)
        assert [one.state for one in found] == ["ok"] * len(found)
        if found:
            values = values_of(self.place, "scores")
            assert {key: row["score"] for key, row in values.items()} == {key: score_of(key) for key in values}
        return "scores" if found else "none"


class RemoveColumns(AddColumns):
    """They are taken away again."""

    stride = 1

    def reset(self) -> None:
        """Add them."""
        super().reset()
        add_scores(self.place)

    def act(self) -> None:
        """Remove, or finish what was begun."""
        while self.state() == "scores" or (self.place / STAGED_MARK).exists():
            try:
                apply(plan_remove_columns(str(self.place), "scores"))
            except UsageError as error:
                assert error.code == "columns-missing"  # noqa: PT017  it is finished


class ComputeColumns(AddColumns):
    """The score is computed from the samples, shard by shard."""

    def act(self) -> None:
        """Compute what is left to be computed."""
        while self.state() == "none" or (self.place / STAGED_MARK).exists():
            map_columns(
                str(self.place), lambda s: {"score": score_of(s.key)}, columns={"score": "float32"}, name="scores"
            )


CHANGES: dict[str, type[Change]] = {
    "repair": Repair, "remove-in-place": RemoveInPlace, "remove-to-new": RemoveToNew, "extract": Extract,
    "append-in-place": AppendInPlace, "append-and-divide": AppendAndDivide, "append-to-new": AppendToNew,
    "columns-add": AddColumns, "columns-rm": RemoveColumns, "columns-map": ComputeColumns,
}  # fmt: skip


def chosen_keys(dataset: Path) -> list[str]:
    """The samples that are taken out."""
    train = list(open_dataset(str(dataset))["train"].keys())
    return [train[0], train[1], train[-1]]


def _chosen(dataset: Path) -> Selection:
    return Selection(keys=frozenset(chosen_keys(dataset)))


def _contents(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in contents(folder).items() if not path.endswith("/lock")}


def outcome_of(change: Change) -> dict[str, str]:
    """What a stopped change left, and the result of running it again."""
    try:
        left = change.state()
        assert left in {change.before, change.done, "absent"}, left
        change.act()
        return {"left": left, "then": change.state()}
    except (AssertionError, OSError, ValueError) as error:
        return {"left": "", "then": f"{type(error).__name__}: {error}"}


def _kill_at(change: Change, point: int) -> int:
    def work() -> None:
        with WritePoints(point, lambda: os._exit(KILLED)):
            change.act()

    return in_child(work)


def main(work: str, name: str, step: int) -> None:
    """Sweep over every ``step``-th write point."""
    for module in HEAVY:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    change = CHANGES[name](Path(work))
    for point in range(step, 10_000, step):
        change.reset()
        code = _kill_at(change, point)
        if code == 0:
            return
        assert code == KILLED, f"point {point}: exit code {code}"
        sys.stdout.write(json.dumps({"point": point, **outcome_of(change)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
