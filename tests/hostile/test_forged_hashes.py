"""Hashes that came with a dataset: whoever made it may have made them say that nothing is like anything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools as wt
from tests.support.alike_pairs import PLANTED, SINGLES, SURPLUS, write_alike_pairs
from tests.support.command import run_command
from wdstools.errors import IntegrityError
from wdstools.ops.duplicates.against import find_shared
from wdstools.results import Proved

TOTAL = SINGLES + len(PLANTED)
UNIQUE = TOTAL - SURPLUS["re-encode"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alike")
    wt.pack(str(write_alike_pairs(folder / "source")), str(folder / "packed"), shard_samples=12, executor=None, jobs=1)
    return folder / "packed"


@pytest.fixture
def theirs(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy with hashes that a stranger has computed and changed, of these very shards and versions."""
    copy = Path(shutil.copytree(packed, tmp_path / "theirs"))
    with monkeypatch.context() as stranger:
        stranger.setenv("XDG_CACHE_HOME", str(tmp_path / "of the stranger"))
        wt.find_duplicates(str(copy))
    for path in sorted((copy / ".wdstools/hashes").glob("*.parquet")):
        table = pq.read_table(path)
        for name in ("phash", "phash16", "mirrored", "mirrored16", "luma", "colour"):
            width = table.schema.field(name).type.byte_width
            forged = pa.array([os.urandom(width) for _ in range(table.num_rows)], pa.binary(width))
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), forged)
        pq.write_table(table, path, write_page_checksum=True)
    return copy


def test_hashes_that_came_with_a_dataset_are_made_anew(theirs: Path) -> None:
    found = wt.find_duplicates(str(theirs))
    assert (found.unique, found.computed, found.proved) == (UNIQUE, TOTAL, Proved.ACCIDENT)
    again = wt.find_duplicates(str(theirs))
    assert (again.unique, again.computed) == (UNIQUE, 0)


def test_copies_of_what_was_computed_here_are_believed_wherever_they_lie(packed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(packed, tmp_path / "mine"))
    wt.find_duplicates(str(copy))
    copy.rename(tmp_path / "moved")
    assert wt.find_duplicates(str(tmp_path / "moved")).computed == 0


def test_with_a_root_the_hashes_are_of_samples_that_it_proves(packed: Path, theirs: Path) -> None:
    root = wt.open_dataset(str(packed)).root
    assert wt.find_duplicates(str(theirs)).proved is Proved.ACCIDENT
    found = wt.find_duplicates(str(theirs), root=root)  # what was made without a root proves nothing to it
    assert (found.unique, found.computed, found.proved) == (UNIQUE, TOTAL, Proved.FORGER)
    assert wt.find_duplicates(str(theirs), root=root).computed == 0
    assert wt.find_duplicates(str(theirs), root=root, level="exact").proved is Proved.FORGER
    with pytest.raises(IntegrityError) as caught:
        wt.find_duplicates(str(theirs), root="0" * 64)
    assert caught.value.code == "root-differs"


def test_sets_against_each_other_say_what_was_proved_of_both(packed: Path, theirs: Path, tmp_path: Path) -> None:
    root = wt.open_dataset(str(packed)).root
    every = set(find_shared(str(packed), [str(packed)]).keys)
    assert len(every) == TOTAL
    assert set(find_shared(str(packed), [str(theirs)]).keys) == every
    given = ("duplicates", packed, "--against", theirs, "--json")
    assert run_command(*given).summary["proved"] == "accident"
    assert run_command(*given, "--root", root).summary["proved"] == "accident"
    both = run_command(*given, "--root", root, "--against-root", root)
    assert (both.summary["proved"], both.summary["shared"]) == ("forger", TOTAL)
    assert run_command(*given, "--against", tmp_path, "--against-root", root).code == 2
    wt.find_duplicates(str(theirs))
    ran = run_command("duplicates", theirs, "--hashes-to", tmp_path / "handed.parquet")
    assert ran.code == 1, ran.err
    shared = find_shared(wt.open_dataset(str(packed), root=root), [str(tmp_path / "handed.parquet")])
    assert (set(shared.keys), shared.proved) == (every, Proved.NOTHING)
