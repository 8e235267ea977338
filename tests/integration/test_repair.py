"""repair: whatever is damaged becomes what was packed, from any kind of copy, and nothing is believed unproved."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.added_columns import add_scores
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from wdstools.errors import BusyError, IntegrityError, NotFoundError, UsageError
from wdstools.formats.manifest import PROVENANCE_PATH
from wdstools.ops.repair import RepairResult, plan_repair
from wdstools.ops.repair.copies import GAP_BYTES
from wdstools.plan import apply
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.locks import locked_folder

TRAIN = "train/train-000000.tar"
MANIFEST = ".wdstools/manifest.json"
VAL = "val/val-000000.tar"
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source and the dataset packed from it, neither to be touched."""
    folder = tmp_path_factory.mktemp("made")
    source = write_city_pairs(folder / "source", train=30, val=10)
    wt.pack(str(source), str(folder / "whole"), shard_samples=10, name="cities", version=3)
    return source, folder / "whole"


@pytest.fixture
def bad(made: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(made[1], tmp_path / "bad")
    return tmp_path / "bad"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def mend(folder: Path, *spares: Path | str) -> RepairResult:
    result = apply(plan_repair(str(folder), spares=[str(spare) for spare in spares]))
    assert isinstance(result, RepairResult)
    return result


def mend_all(folder: Path, spare: Path) -> bool:
    return not mend(folder, spare).unsolved


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def flip(path: Path, at: int, bit: int = 2) -> None:
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 1 << bit]))


def spoil_image(folder: Path, shard: str, row: int) -> None:
    """Overwrite some bytes of an image, which nothing but a copy gives back."""
    dataset = wt.open_dataset(str(folder))
    entry = next(entry for _, entry in dataset.manifest.shards if entry.path == shard)
    member = dataset.index(entry).column("members").to_pylist()[row][0]
    overwrite(folder / shard, member["offset"] + 50, b"spoilt" * 9)


def splice(path: Path, at: int, lost: int, inserted: bytes = b"") -> None:
    data = path.read_bytes()
    path.write_bytes(data[:at] + inserted + data[at + lost :])


DAMAGES: dict[str, Damage] = {
    "a shard is missing": lambda d: (d / TRAIN).unlink(),
    "a split is missing": lambda d: shutil.rmtree(d / "val"),
    "a shard is cut": lambda d: os.truncate(d / TRAIN, 5_001),
    "a shard is empty": lambda d: os.truncate(d / TRAIN, 0),
    "the trailer is cut": lambda d: os.truncate(d / TRAIN, (d / TRAIN).stat().st_size - 700),
    "bytes follow the end": lambda d: splice(d / TRAIN, (d / TRAIN).stat().st_size, 0, b"tail"),
    "a byte is inserted": lambda d: splice(d / TRAIN, 3_000, 0, b"x"),
    "513 bytes are lost": lambda d: splice(d / TRAIN, 3_000, 513),
    "a block is zero": lambda d: overwrite(d / TRAIN, 4_096, bytes(4_096)),
    "everything is zero": lambda d: overwrite(d / TRAIN, 0, bytes((d / TRAIN).stat().st_size)),
    "shards are swapped": lambda d: swap(d / TRAIN, d / VAL),
    "a shard lies twice": lambda d: shutil.copy(d / TRAIN, d / "train/train-000001.tar"),
    "an index is missing": lambda d: (d / ".wdstools/index/train-000000.parquet").unlink(),
    "an index is damaged": lambda d: flip(d / ".wdstools/index/train-000000.parquet", 900),
    "all indexes are missing": lambda d: shutil.rmtree(d / ".wdstools/index"),
    "the manifest is missing": lambda d: (d / ".wdstools/manifest.json").unlink(),
    "the manifest is damaged": lambda d: flip(d / ".wdstools/manifest.json", 700),
    "the manifest is empty": lambda d: os.truncate(d / ".wdstools/manifest.json", 0),
    "provenance is missing": lambda d: (d / PROVENANCE_PATH).unlink(),
    "provenance is damaged": lambda d: overwrite(d / PROVENANCE_PATH, 40, b"damaged"),
    "the list is missing": lambda d: (d / "SHA256SUMS").unlink(),
    "the list is damaged": lambda d: overwrite(d / "SHA256SUMS", 3, b"zz"),
    "a digest of the list is damaged": lambda d: flip(d / "SHA256SUMS", 3, 0),
    "the card is missing": lambda d: (d / "README.md").unlink(),
    "the card is damaged": lambda d: overwrite(d / "README.md", 30, b"damaged"),
    "everything of .wdstools is missing": lambda d: shutil.rmtree(d / ".wdstools"),
    "a shard and its index are missing": lambda d: remove(d, TRAIN, ".wdstools/index/train-000000.parquet"),
    "shard, manifest and list are damaged": lambda d: remove(d, MANIFEST, "SHA256SUMS", flipped=TRAIN),
}  # fmt: skip


def remove(folder: Path, *names: str, flipped: str = "") -> None:
    if flipped:
        flip(folder / flipped, 2_000)
    for name in names:
        (folder / name).unlink()


def swap(a: Path, b: Path) -> None:
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_whatever_is_damaged_is_as_it_was_after_a_repair_from_a_copy(
    damage: Damage, made: tuple[Path, Path], bad: Path
) -> None:
    damage(bad)
    assert mend(bad, made[1]).unsolved == ()
    assert contents(bad) == contents(made[1])
    again = plan_repair(str(bad), spares=[str(made[1])])
    assert again.steps == ()


def test_the_source_mends_a_dataset_of_authenticated_ranges_too(made: tuple[Path, Path], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    wt.pack(str(made[0]), str(whole), shard_samples=10, authenticated_ranges=True)
    for lost in ([TRAIN], [TRAIN, ".wdstools/index/train-000000.parquet"]):
        bad = tmp_path / f"bad{len(lost)}"
        shutil.copytree(whole, bad)
        for path in lost:
            (bad / path).unlink()
        result = mend(bad, made[0])
        assert result.unsolved == ()
        assert result.root == wt.open_dataset(str(whole)).root
        assert contents(bad)[TRAIN] == contents(whole)[TRAIN]
        assert wt.verify(str(bad), level="samples").ok


#: What cannot be made again from the source alone: history, which is nobody's content.
_HISTORY = ("provenance", "everything of .wdstools", "shard, manifest and list")


@pytest.mark.parametrize("damage", [d for n, d in DAMAGES.items() if not n.startswith(_HISTORY)])
def test_the_original_source_is_a_copy(damage: Damage, made: tuple[Path, Path], bad: Path) -> None:
    root = wt.open_dataset(str(made[1])).root
    damage(bad)
    result = mend(bad, made[0])
    assert result.unsolved == ()
    assert result.root == root
    assert wt.verify(wt.open_dataset(str(bad)), level="samples").ok


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), shard=st.sampled_from([TRAIN, VAL]))
def test_one_flipped_bit_in_a_shard_is_undone_without_any_copy(
    place: float, bit: int, shard: str, made: tuple[Path, Path], bad: Path
) -> None:
    flip(bad / shard, int(place * (bad / shard).stat().st_size), bit)
    result = mend(bad)
    assert result.bytes == 0
    assert contents(bad) == contents(made[1])


@pytest.mark.parametrize(
    "name", [".wdstools/manifest.json", PROVENANCE_PATH, "SHA256SUMS", ".wdstools/index/val-000000.parquet"]
)
def test_one_flipped_bit_in_a_small_file_is_undone_without_any_copy(
    name: str, made: tuple[Path, Path], bad: Path
) -> None:
    draw = random.Random(name)
    for _ in range(8):
        flip(bad / name, draw.randrange((bad / name).stat().st_size), draw.randrange(8))
        result = mend(bad)
        assert (result.unsolved, result.bytes) == ((), 0)  # nothing came from a copy
        assert contents(bad) == contents(made[1])


def test_a_copy_that_is_damaged_in_the_same_place_is_passed_over_and_the_next_one_taken(
    made: tuple[Path, Path], bad: Path, tmp_path: Path
) -> None:
    worse = tmp_path / "worse"
    shutil.copytree(made[1], worse)
    for folder in (bad, worse):
        spoil_image(folder, TRAIN, 3)
    plan = plan_repair(str(bad), spares=[str(worse)])
    assert [finding.key for finding in plan.unsolved]
    assert mend(bad, worse, made[1]).unsolved == ()
    assert contents(bad) == contents(made[1])


def test_what_no_copy_has_is_named_and_kept_while_the_rest_is_repaired(made: tuple[Path, Path], bad: Path) -> None:
    spoil_image(bad, TRAIN, 3)
    spoil_image(bad, VAL, 4)
    kept = (bad / TRAIN).read_bytes()
    lone = bad.parent / "val-000000.tar"
    shutil.copy(made[1] / VAL, lone)
    result = mend(bad, lone)
    assert {finding.path for finding in result.unsolved} == {TRAIN}
    assert (bad / TRAIN).read_bytes() == kept
    assert (bad / VAL).read_bytes() == (made[1] / VAL).read_bytes()
    report = wt.verify(wt.open_dataset(str(bad)))
    assert {finding.key for finding in report.findings} == {finding.key for finding in result.unsolved}


def _garble_line(folder: Path, of: str) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(f"z{line[1:]}" if of in line else line for line in lines))


def _drop_line(folder: Path, of: str) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if of not in line))


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: None,
        lambda d: _garble_line(d, ".wdstools/index/val"),
        lambda d: _garble_line(d, PROVENANCE_PATH),
        lambda d: _drop_line(d, PROVENANCE_PATH),
        lambda d: (d / "SHA256SUMS").unlink(),
    ],
    ids=["the list is whole", "another line", "its own line", "its line is gone", "the list is gone"],
)
def test_provenance_that_nothing_can_mend_is_named_before_and_after_a_repair(
    damage: Damage, made: tuple[Path, Path], bad: Path
) -> None:
    with (bad / PROVENANCE_PATH).open("ab") as file:
        file.write(b'{"x": 1}\n')
    damage(bad)
    for _ in range(2):
        assert {finding.path for finding in mend(bad).unsolved} == {PROVENANCE_PATH}
        assert not wt.verify(bad).ok
    assert not mend(bad, made[1]).unsolved
    assert contents(bad) == contents(made[1])


def test_lines_of_the_list_that_are_whole_count_where_another_is_not(bad: Path) -> None:
    for of in (".wdstools/index/train", ".wdstools/index/val"):
        _garble_line(bad, of)
    overwrite(bad / PROVENANCE_PATH, 40, b"damaged")
    found = [(finding.path, finding.cause) for finding in wt.verify(bad).findings]
    assert (PROVENANCE_PATH, "bytes-differ") in found
    assert found.count(("SHA256SUMS", "sums-damaged")) == 1


def test_no_more_moves_than_the_damaged_samples_and_one_gap_between_neighbours(
    made: tuple[Path, Path], bad: Path
) -> None:
    index = wt.open_dataset(str(made[1])).index(wt.open_dataset(str(made[1])).manifest.splits["train"][0])
    lengths = index.column("length").to_pylist()
    for row in (1, 5):
        spoil_image(bad, TRAIN, row)
    plan = plan_repair(str(bad), spares=[str(made[1])])
    assert lengths[1] + lengths[5] <= plan.bytes <= lengths[1] + lengths[5] + GAP_BYTES
    assert mend(bad, made[1]).bytes == plan.bytes


def test_a_copy_of_another_version_gives_the_samples_that_are_the_same(
    made: tuple[Path, Path], bad: Path, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(made[0], fewer)
    for gone in sorted((fewer / "img/train/oslo").iterdir())[:3]:
        gone.unlink()
    wt.pack(str(fewer), str(tmp_path / "other"), like=str(made[1] / ".wdstools/manifest.json"), version=4)
    overwrite(bad / TRAIN, 0, bytes((bad / TRAIN).stat().st_size))
    plan = plan_repair(str(bad), spares=[str(tmp_path / "other")])
    gone_here = {finding.key for finding in plan.unsolved}
    assert len(gone_here) <= 3
    assert sum("sample" in (step.detail or "") for step in plan.steps) >= bool(len(gone_here) < 10)


def test_a_foreign_dataset_gives_nothing_and_changes_nothing(bad: Path, tmp_path: Path) -> None:
    other = write_city_pairs(tmp_path / "o", train=1, val=1)
    wt.pack(str(other), str(tmp_path / "foreign"), shard_samples=10)
    spoil_image(bad, TRAIN, 3)
    before = contents(bad)
    result = mend(bad, tmp_path / "foreign")
    assert result.unsolved
    assert contents(bad) == before


def test_a_lost_manifest_is_not_taken_from_a_foreign_dataset(bad: Path, tmp_path: Path) -> None:
    other = write_city_pairs(tmp_path / "o", train=4, val=2)
    wt.pack(str(other), str(tmp_path / "foreign"), shard_samples=10)
    shutil.rmtree(bad / ".wdstools")
    for name in ("SHA256SUMS", "README.md"):
        (bad / name).unlink()
    flip(bad / TRAIN, 700)
    with pytest.raises(IntegrityError) as caught:
        plan_repair(str(bad), spares=[str(tmp_path / "foreign")])
    assert caught.value.code == "manifest-lost"


def test_a_root_digest_that_is_given_must_be_reached(made: tuple[Path, Path], bad: Path) -> None:
    root = wt.open_dataset(str(made[1])).root
    (bad / ".wdstools/manifest.json").unlink()
    with pytest.raises(IntegrityError):
        plan_repair(str(bad), root="0" * 64)
    assert plan_repair(str(bad), root=root.upper()).steps


@pytest.mark.parametrize("root", ["", "zz", "sha256:" + "0" * 64, "0" * 63, "0" * 64 + "\n", "\u0663" * 64])
def test_what_is_no_root_digest_is_refused(root: str, bad: Path) -> None:
    (bad / ".wdstools/manifest.json").unlink()
    with pytest.raises(UsageError, match="root digest"):
        plan_repair(str(bad), root=root)


def test_only_one_repair_is_at_work_at_a_time(made: tuple[Path, Path], bad: Path) -> None:
    (bad / VAL).unlink()
    plan = plan_repair(str(bad), spares=[str(made[1])])
    with locked_folder(str(bad / ".wdstools"), "bad"), pytest.raises(BusyError):
        apply(plan)
    assert not (bad / VAL).exists()


def test_a_users_own_words_in_the_card_survive_its_repair(bad: Path) -> None:
    text = (bad / "README.md").read_text()
    mine = text.replace("# cities", "# cities\n\nMy own words.", 1) + "\nAnd some at the end.\n"
    (bad / "README.md").write_text(mine.replace("Root digest", "Rxxt digest"))
    mend(bad)
    assert (bad / "README.md").read_text() == mine


def test_tars_that_are_not_of_the_dataset_are_deleted_only_when_asked(made: tuple[Path, Path], bad: Path) -> None:
    shutil.copy(made[1] / VAL, bad / "val/stranger.tar")
    assert [finding.kind for finding in mend(bad).unsolved] == ["extra"]
    assert (bad / "val/stranger.tar").exists()
    assert apply(plan_repair(str(bad), delete=True)) is not None
    assert contents(bad) == contents(made[1])


def test_the_command_plans_asks_and_repairs(made: tuple[Path, Path], bad: Path) -> None:
    (bad / VAL).unlink()
    before = contents(bad)
    assert run_command("repair", bad, "--from", made[1], "-n").code == 0
    refused = run_command("repair", bad, "--from", made[1])
    assert refused.code == 2
    assert "-y" in refused.err
    assert contents(bad) == before
    done = run_command("repair", bad, "--from", made[1], "-y", "--json")
    assert done.code == 0
    assert contents(bad) == contents(made[1])
    (bad / VAL).unlink()
    assert run_command("repair", bad, "-y").code == 1
    assert run_command("repair", bad, "--from", bad / "nowhere", "-y").code == 4
    assert run_command("repair", bad / "nowhere", "-y").code == 4


def test_a_copy_that_is_not_there_is_an_error(bad: Path) -> None:
    with pytest.raises(NotFoundError):
        plan_repair(str(bad), spares=[str(bad / "nowhere")])


def test_a_copy_that_is_neither_file_nor_folder_is_an_error_and_is_not_waited_for(bad: Path) -> None:
    os.mkfifo(bad.parent / "pipe")
    for odd in (bad.parent / "pipe", Path("/dev/zero")):
        with pytest.raises(NotFoundError, match="neither a plain file nor a folder"):
            plan_repair(str(bad), spares=[str(odd)])


def test_a_link_that_leads_to_itself_does_not_hide_the_shards_beside_it(made: tuple[Path, Path], bad: Path) -> None:
    spoil_image(bad, TRAIN, 3)
    copy = bad.parent / "copy"
    copy.mkdir()
    for name in ("a", "a.tar"):
        (copy / name).symlink_to(name)
    assert not mend_all(bad, copy)
    shutil.copy(made[1] / TRAIN, copy)
    assert mend_all(bad, copy)


def test_a_plan_that_leaves_damage_behind_ends_with_one_and_a_plan_that_does_not_with_zero(
    bad: Path, made: tuple[Path, Path]
) -> None:
    overwrite(bad / TRAIN, 0, bytes((bad / TRAIN).stat().st_size))
    before = contents(bad)
    hopeless = run_command("repair", bad, "-n", "--json")
    assert (hopeless.code, hopeless.summary["exit_code"], hopeless.summary["ok"]) == (1, 1, False)
    assert hopeless.summary["unsolved"] > 0
    assert run_command("repair", bad, "-y").code == 1
    assert contents(bad) == before
    planned = run_command("repair", bad, "--from", made[1], "-n", "--json")
    assert (planned.code, planned.summary["unsolved"]) == (0, 0)
    assert contents(bad) == before


def test_halves_of_files_that_a_killed_run_left_are_taken_away_and_nothing_else_is(
    bad: Path, made: tuple[Path, Path]
) -> None:
    torn = [bad / f"{TRAIN}.123{TEMP_SUFFIX}", bad / f".wdstools/manifest.json.9{TEMP_SUFFIX}"]
    mine = [bad / f"mine.1{TEMP_SUFFIX}", bad / f".wdstools/hashes/x.parquet.5{TEMP_SUFFIX}"]
    for path in (*torn, *mine):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    told = {said.partition(": ")[0]: said.rpartition("; ")[2] for said in wt.verify(bad).left}
    by_repair, by_hand = "wdstools repair removes it", "delete it, if no command is running"
    assert told == {str(path.relative_to(bad)): by_repair if path in torn else by_hand for path in (*torn, *mine)}
    result = mend(bad, made[1])
    assert result.unsolved == ()
    assert [path for path in (*torn, *mine) if path.exists()] == mine


def test_a_file_put_aside_by_a_killed_run_is_not_said_to_be_waste(bad: Path) -> None:
    """Where one file cannot replace another, the old one has no name of its own for a moment."""
    aside = bad / f"{TRAIN}.123.old{TEMP_SUFFIX}"
    (bad / TRAIN).rename(aside)
    told = f"{TRAIN}.123.old{TEMP_SUFFIX}: left by a run that was killed; "
    assert wt.verify(bad).left == (f"{told}it is {TRAIN} as it was before: give it back its name",)
    shutil.copy(aside, bad / TRAIN)
    assert wt.verify(bad).left == (f"{told}delete it, if no command is running",)


def test_halves_of_files_of_added_columns_are_taken_away_as_verify_says(bad: Path) -> None:
    add_scores(bad)
    columns = bad / ".wdstools/columns"
    names = ("SHA256SUMS", "scores.json", "scores/train-000000.parquet")
    torn, mine = [columns / f"{name}.1f{TEMP_SUFFIX}" for name in names], columns / f"other.json.1f{TEMP_SUFFIX}"
    for path in torn:
        path.write_bytes(b"half")
    assert [said.endswith("wdstools repair removes it") for said in wt.verify(bad).left] == [True] * 3
    mine.write_bytes(b"half")
    assert mend(bad).unsolved == ()
    assert [path for path in (*torn, mine) if path.exists()] == [mine]


@pytest.mark.parametrize("source", ["plain", "compressed", "adopted", "keys that restart"])
def test_a_folder_of_shards_that_something_else_made_is_a_source(source: str, tmp_path: Path) -> None:
    restarts = source == "keys that restart"
    tars = [tar_bytes(pairs(0 if restarts else 5 * n, 5 + n)) for n in range(2)]
    write(tmp_path / "theirs", {f"{n:05d}.tar": data for n, data in enumerate(tars)})
    made = wt.pack(tmp_path / "theirs", tmp_path / "data", prefix_keys="shard" if restarts else None)
    assert not made.skipped
    shard = tmp_path / "data/train/train-000000.tar"
    data = bytearray(shard.read_bytes())
    data[512:4096:7] = bytes(0xFF ^ byte for byte in data[512:4096:7])
    shard.write_bytes(data)
    origin = tmp_path / "theirs"
    if source == "compressed":
        zipped = {f"{n:05d}.tar.gz": compressed(data, "tar.gz") for n, data in enumerate(tars)}
        origin = write(tmp_path / "zipped", zipped)
    elif source == "adopted":
        origin = tmp_path / "adopted"
        wt.adopt(tmp_path / "theirs", origin)
    assert mend_all(tmp_path / "data", origin)
    assert wt.verify(tmp_path / "data", level="samples").findings == ()
