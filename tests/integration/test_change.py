"""remove, diff, extract, scrubbing: what changes is what was asked for, and everything else keeps its bytes."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from wdstools.errors import FormatError, IntegrityError, StoreError, UsageError
from wdstools.landing.staging import commit
from wdstools.ops.diff import diff
from wdstools.ops.extract import extract
from wdstools.ops.remove import RemoveResult, plan_remove
from wdstools.ops.repair import plan_repair
from wdstools.ops.verify import verify_path
from wdstools.ops.verify.scrub import ScrubOptions
from wdstools.plan import apply
from wdstools.reader.select import Selection, parse_where
from wdstools.units import parse_duration

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source and the dataset packed from it, neither to be touched."""
    folder = tmp_path_factory.mktemp("made")
    source = write_city_pairs(folder / "source", train=30, val=10)
    wt.pack(str(source), str(folder / "whole"), shards=3, name="cities")
    return source, folder / "whole"


@pytest.fixture
def copy(made: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(made[1], tmp_path / "copy")
    return tmp_path / "copy"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    dataset = wt.open_dataset(str(folder))
    return {sample.key: dict(sample) for split in dataset.splits for sample in dataset[split]}


def remove(folder: Path, *keys: str, output: Path | None = None) -> RemoveResult:
    selection = Selection(keys=frozenset(keys))
    result = apply(plan_remove(str(folder), selection, output=str(output) if output else None))
    assert isinstance(result, RemoveResult)
    return result


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_removed_is_gone_and_everything_else_is_as_it_was(
    data: st.DataObject, made: tuple[Path, Path], tmp_path: Path
) -> None:
    before = samples(made[1])
    gone = data.draw(st.sets(st.sampled_from(sorted(before)), max_size=40))
    new = tmp_path / "new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(made[1], new)
    result = remove(new, *gone)
    assert samples(new) == {key: members for key, members in before.items() if key not in gone}
    assert wt.verify(wt.open_dataset(str(new)), level="samples").ok
    assert result.version == 1 + bool(gone)
    untouched = {path for path in contents(made[1]) if path.endswith(".tar")} - set(result.shards)
    assert all((new / path).read_bytes() == (made[1] / path).read_bytes() for path in untouched)
    raw = b"".join(data for path, data in contents(new).items() if not path.endswith(".parquet"))
    assert not any(f"{key}.jpg".encode() in raw for key in gone)


def test_a_new_dataset_is_what_a_change_in_place_makes(made: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    keys = sorted(samples(copy))[::7]
    before = contents(copy)
    remove(copy, *keys, output=tmp_path / "new")
    assert contents(copy) == before
    remove(copy, *keys)
    assert contents(copy) == contents(tmp_path / "new")


def test_packing_what_is_left_like_the_manifest_gives_the_same_shards(
    made: tuple[Path, Path], copy: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(made[0], source)
    gone = [("train", "oslo/0"), ("val", "rome/100001")]
    for split, name in gone:
        (source / f"img/{split}/{name}.jpg").unlink()
        (source / f"captions/{split}/{name}.txt").unlink()
    remove(copy, *(name for _, name in gone))
    like = str(made[1] / ".wdstools/manifest.json")
    wt.pack(str(source), str(tmp_path / "packed"), like=like, name="cities", version=2)
    assert wt.open_dataset(str(tmp_path / "packed")).root == wt.open_dataset(str(copy)).root


def test_provenance_keeps_a_receipt_and_the_previous_root_but_no_content(made: tuple[Path, Path], copy: Path) -> None:
    root = wt.open_dataset(str(copy)).root
    remove(copy, "oslo/0", "oslo/2")
    text = (copy / ".wdstools/provenance.json").read_text()
    (change,) = json.loads(text)["history"]
    assert (change["previous_root"], change["previous_version"], change["samples"]) == (root, 1, 2)
    assert len(change["receipt"]) == 2
    assert "oslo/0" not in text
    report = verify_path(str(made[1] / ".wdstools/manifest.json"), at=str(copy))
    (finding,) = report.findings
    assert "2 samples removed" in finding.message
    assert (finding.expected, finding.got) == (root, wt.open_dataset(str(copy)).root)


def test_damage_is_not_carried_into_a_new_version(copy: Path) -> None:
    entry = wt.open_dataset(str(copy)).manifest.splits["train"][0]
    keys = list(wt.open_dataset(str(copy)).index(entry).column("key").to_pylist())
    with (copy / entry.path).open("r+b") as file:
        file.seek(700)
        file.write(b"damage")
    before = contents(copy)
    with pytest.raises(IntegrityError) as caught:
        remove(copy, keys[-1])
    assert caught.value.code == "sample-damaged"
    assert contents(copy) == before


def test_a_change_cut_short_is_absent_and_then_finished_by_repair(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(copy, "oslo/0", output=tmp_path / "new")
    plan = plan_remove(str(copy), Selection(keys=frozenset(["oslo/0"])))

    def stop_half_way(root: str, moved: list[str], deleted: list[str]) -> None:
        with monkeypatch.context() as inside:
            inside.setattr("wdstools.landing.staging.sync_folder", _die)
            commit(root, moved, deleted)

    monkeypatch.setattr("wdstools.ops.next_version.land.commit", stop_half_way)
    with pytest.raises(KeyboardInterrupt):
        apply(plan)
    with pytest.raises(StoreError) as caught:
        wt.open_dataset(str(copy))
    assert caught.value.code == "change-unfinished"
    assert run_command("repair", copy, "-y").code == 0
    assert contents(copy) == contents(tmp_path / "new")


def _die(path: str) -> None:
    raise KeyboardInterrupt(path)


def test_a_plan_made_before_another_change_is_refused(copy: Path) -> None:
    plan = plan_remove(str(copy), Selection(keys=frozenset(["oslo/0"])))
    remove(copy, "oslo/2")
    before = contents(copy)
    with pytest.raises(StoreError) as caught:
        apply(plan)
    assert caught.value.code == "dataset-replaced"
    assert contents(copy) == before


def test_a_removal_says_what_it_needs(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        plan_remove(str(copy), Selection())
    keys = tmp_path / "keys"
    keys.write_text("oslo/0\nnot/there\n")
    assert run_command("remove", copy, "--keys", keys, "-y").code == 2
    assert run_command("remove", copy, "--keys", keys, "--in-place").code == 2
    assert run_command("remove", copy, "--keys", keys, "-n").code == 3
    assert run_command("remove", copy, "--keys", keys, "-o", copy, "-y").code == 2
    assert run_command("remove", copy, "--where", "city == 1", "--in-place", "-y").code == 2
    assert run_command("remove", copy, "--keys", tmp_path / "none", "--in-place", "-y").code == 4
    done = run_command("remove", copy, "--keys", keys, "--in-place", "-y", "--json")
    assert done.code == 3
    assert (done.summary["removed"], done.summary["absent"]) == (1, ["not/there"])


def test_diff_names_what_was_added_removed_changed_and_moved(
    made: tuple[Path, Path], copy: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(made[0], source)
    (source / "captions/train/oslo/0.txt").write_text("another caption")
    for kind, suffix in (("img", "jpg"), ("captions", "txt")):
        (source / f"{kind}/train/rome/1.{suffix}").unlink()
        shutil.move(source / f"{kind}/train/oslo/2.{suffix}", source / f"{kind}/val/oslo/2.{suffix}")
        shutil.copy(source / f"{kind}/train/oslo/4.{suffix}", source / f"{kind}/train/oslo/999.{suffix}")
    wt.pack(str(source), str(tmp_path / "b"), like=str(copy / ".wdstools/manifest.json"), name="cities")
    result = diff(wt.open_dataset(str(copy)), wt.open_dataset(str(tmp_path / "b")))
    assert {(found.change, found.key, found.members) for found in result.differences} == {
        ("changed", "oslo/0", ("txt",)),
        ("removed", "rome/1", ()),
        ("moved", "oslo/2", ()),
        ("added", "oslo/999", ()),
    }
    ran = run_command("diff", copy, tmp_path / "b", "--json")
    assert (ran.code, ran.summary["samples"]) == (1, {"added": 1, "changed": 1, "moved": 1, "removed": 1})
    assert run_command("diff", copy, copy).code == 0


def test_diff_opens_no_shard(made: tuple[Path, Path], copy: Path) -> None:
    remove(copy, "oslo/0")
    for tar in copy.rglob("*.tar"):
        tar.unlink()
    result = diff(wt.open_dataset(str(made[1])), wt.open_dataset(str(copy)))
    assert [found.key for found in result.differences] == ["oslo/0"]


def test_what_is_extracted_is_the_source_and_packs_to_the_same_root(made: tuple[Path, Path], tmp_path: Path) -> None:
    dataset = wt.open_dataset(str(made[1]))
    extract(dataset, str(tmp_path / "files"))
    assert contents(tmp_path / "files") == contents(made[0])
    wt.pack(str(tmp_path / "files"), str(tmp_path / "again"), shards=3, name="cities")
    assert wt.open_dataset(str(tmp_path / "again")).root == dataset.root


def test_shards_of_unknown_origin_are_extracted_under_their_keys(made: tuple[Path, Path], tmp_path: Path) -> None:
    wt.pack(str(made[1]), str(tmp_path / "repacked"))
    dataset = wt.open_dataset(str(tmp_path / "repacked"))
    where = parse_where("label == 'oslo'")
    result = extract(dataset, str(tmp_path / "files"), selection=Selection(splits=("val",), where=where))
    assert result.samples == 5
    found = contents(tmp_path / "files")
    assert {path.partition(".")[0] for path in found} == {
        f"val/{key}" for key in samples(made[1]) if key.startswith("oslo/1000")
    }


def test_extraction_stops_at_damage_and_leaves_nothing(copy: Path, tmp_path: Path) -> None:
    entry = wt.open_dataset(str(copy)).manifest.splits["train"][0]
    with (copy / entry.path).open("r+b") as file:
        file.seek(700)
        file.write(b"damage")
    ran = run_command("extract", copy, tmp_path / "files")
    assert ran.code == 1
    assert not list(tmp_path.glob("files*"))


def test_names_that_point_outside_are_never_written(made: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    templates = {"image": "img/{split}/{label}/{id}.jpg", "caption": "captions/{split}/{label}/{id}.txt"}
    wt.pack(wt.FolderSource(str(made[0]), image=templates["image"], caption=templates["caption"]), str(copy))
    extract(wt.open_dataset(str(copy)), str(tmp_path / "right"))
    assert contents(tmp_path / "right") == contents(made[0])
    provenance = copy / ".wdstools/provenance.json"
    document = json.loads(provenance.read_text())
    document["template"]["image"] = "../../outside/{id}.jpg"
    provenance.write_text(json.dumps(document))
    with pytest.raises(FormatError) as caught:
        extract(wt.open_dataset(str(copy)), str(tmp_path / "a/b/files"))
    assert caught.value.code == "path-unsafe"
    assert not (tmp_path / "outside").exists()


class Clock:
    """Tells a time that a test moves on."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.time += self.step
        return self.time


def test_rounds_with_a_time_limit_see_every_shard_once(copy: Path, tmp_path: Path) -> None:
    clock = Clock()
    clock.step = 10.0
    options = ScrubOptions(str(tmp_path / "state"), clock, time_limit=45.0)
    checked, waiting, runs = 0, 1, 0
    while waiting:
        report = verify_path(str(copy), scrubbing=options)
        assert report.ok
        checked += report.checked["shards"]
        waiting = report.checked["waiting"]
        runs += 1
    assert checked == len(wt.open_dataset(str(copy)).manifest.shards)
    assert runs > 2
    assert contents(copy) == contents(copy)
    assert verify_path(str(copy), scrubbing=options).checked["passed_over"] == 0  # the next round


def test_shards_seen_lately_are_passed_over_until_they_are_old_or_were_damaged(copy: Path, tmp_path: Path) -> None:
    clock = Clock()
    options = ScrubOptions(str(tmp_path / "state"), clock, max_age=parse_duration("7d", ""))
    shards = len(wt.open_dataset(str(copy)).manifest.shards)
    damaged = next(iter(copy.rglob("*.tar")))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:700] + b"x" + whole[701:])
    assert verify_path(str(copy), scrubbing=options).findings
    damaged.write_bytes(whole)
    clock.time += 86_400
    assert verify_path(str(copy), scrubbing=options).checked["passed_over"] == shards - 1
    assert verify_path(str(copy), level="samples", scrubbing=options).checked["passed_over"] == 0
    clock.time += 7 * 86_400
    assert verify_path(str(copy), scrubbing=options).checked["passed_over"] == 0


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1y", "1e9d", "7 days"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text, "--max-age")


def test_scrubbing_on_the_command_line_keeps_its_state_where_told(copy: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert run_command("verify", copy, "--resume", "--time-limit", "0s", "--state", state).code == 4, (
        "nothing was looked at"
    )
    first = run_command("verify", copy, "--max-age", "7d", "--state", state, "--json")
    second = run_command("verify", copy, "--max-age", "7d", "--state", state, "--json")
    assert (first.summary["checked"]["passed_over"], second.summary["checked"]["shards"]) == (0, 0)
    (state / next(iter(p.name for p in state.iterdir()))).write_text("{")
    assert run_command("verify", copy, "--max-age", "7d", "--state", state).code == 5


def test_every_part_of_seven_together_looks_at_everything(copy: Path) -> None:
    total = sum(verify_path(str(copy), part=(n, 7)).checked["shards"] for n in range(1, 8))
    assert total == len(wt.open_dataset(str(copy)).manifest.shards)


def test_repair_of_a_version_after_removal_does_not_bring_back_what_was_removed(
    made: tuple[Path, Path], copy: Path
) -> None:
    result = remove(copy, "oslo/0")
    (copy / result.shards[0]).unlink()
    apply(plan_repair(str(copy), spares=[str(made[1])]))
    assert wt.verify(wt.open_dataset(str(copy))).ok
    assert "oslo/0" not in samples(copy)


def test_a_repair_of_what_is_whole_says_that_there_is_nothing_to_repair(copy: Path) -> None:
    ran = run_command("repair", copy, "-y")
    assert ran.code == 0
    assert "nothing to repair" in ran.out


def test_diff_says_what_a_manifest_alone_lacks(made: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    alone = tmp_path / "old.json"
    alone.write_bytes((copy / ".wdstools/manifest.json").read_bytes())
    remove(copy, "oslo/0")
    ran = run_command("diff", alone, copy)
    assert ran.code == 4
    assert "a manifest alone does not list samples" in ran.err


def test_a_dataset_is_asked_for_names_only(made: tuple[Path, Path]) -> None:
    dataset = wt.open_dataset(str(made[1]))
    assert "oslo/0" in dataset
    assert "oslo" not in dataset
    with pytest.raises(TypeError, match="a split by a number"):
        dataset[5]  # type: ignore[call-overload]
    assert len(repr(dataset)) < 500
