"""``wdstools verify`` of a part: some splits, what is here, one shard, a place that holds something else or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import assert_clean_failure, run_command
from tests.support.damaged_dataset import flipped, make_dataset, shards_of
from tests.support.unprivileged import unprivileged
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.repair import plan_repair
from wdstools.ops.verify import verify
from wdstools.results import Proved


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("parts"), train=20, val=6, shard_samples=5)


@pytest.fixture(name="manifest")
def _manifest(dataset: Path, tmp_path: Path) -> Path:
    shutil.copy(dataset / MANIFEST_PATH, tmp_path / "pairs.json")
    return tmp_path / "pairs.json"


def _some(dataset: Path, folder: Path, shards: list[str]) -> Path:
    for shard in shards:
        (folder / shard).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset / shard, folder / shard)
    return folder


def test_a_part_is_verified_as_a_part(dataset: Path, manifest: Path, tmp_path: Path) -> None:
    shards = shards_of(dataset)
    here = _some(dataset, tmp_path / "here", shards[:2])
    ran = run_command("verify", manifest, "--at", here, "--only-present")
    assert (ran.code, ran.err) == (0, "")
    assert f"2 of {len(shards)} shards are here and whole; {len(shards) - 2} were not asked for" in ran.out
    answer = run_command("verify", manifest, "--at", here, "--only-present", "--json").summary
    assert (answer["checked"]["shards"], answer["checked"]["not_asked"]) == (2, len(shards) - 2)
    assert answer["proved"] == "forger"
    assert run_command("verify", manifest, "--at", here).code == 1, "without the option all are asked for"


def test_one_shard_is_proved_as_its_folder_is(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "sets/copy"))
    shutil.copy(dataset / MANIFEST_PATH, tmp_path / "pairs.json")
    shard = shards_of(copy)[0]
    for manifest, proved in (
        (tmp_path / "pairs.json", Proved.FORGER),
        (dataset, Proved.FORGER),
        (copy, Proved.ACCIDENT),
    ):
        for at in (copy, copy / shard):
            assert verify(str(manifest), at=str(at), only_present=True).proved is proved, (manifest, at)


def test_damage_in_a_part_is_found(dataset: Path, manifest: Path, tmp_path: Path) -> None:
    shards = shards_of(dataset)
    here = _some(dataset, tmp_path / "here", shards[:2])
    (here / shards[1]).write_bytes(flipped((here / shards[1]).read_bytes(), 3000, 1))
    ran = run_command("verify", manifest, "--at", here, "--only-present", "--json")
    assert (ran.code, ran.summary["findings"], ran.summary["proved"]) == (1, 1, "nothing")
    assert ran.lines[0]["path"] == shards[1]


def test_one_of_several_parts_is_not_called_the_whole(dataset: Path) -> None:
    shards = len(shards_of(dataset))
    looked_at = 0
    for part in range(1, 3):
        ran = run_command("verify", dataset, "--part", f"{part}/2")
        answer = verify(str(dataset), part=(part, 2)).checked
        assert f"{answer['shards']} of {shards} shards" in ran.out
        assert answer["shards"] + answer["not_asked"] == shards
        looked_at += answer["shards"]
    assert looked_at == shards
    assert "not_asked" not in verify(str(dataset), part=(1, 1)).checked


@pytest.mark.parametrize("what", ["shard", "folder", "index", "README.md", "SHA256SUMS"])
def test_what_may_not_be_read_is_no_damage(what: str, dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shard = copy / shards_of(dataset)[0]
    paths = {"shard": shard, "folder": shard.parent, "index": next((copy / ".wdstools/index").iterdir())}
    denied = paths.get(what, copy / what)
    denied.chmod(0)
    try:
        if what == "folder":
            with pytest.raises(StoreError) as caught:
                unprivileged(lambda: verify(str(copy)))
            assert caught.value.code == "denied"
            return
        report = unprivileged(lambda: verify(str(copy)))
        assert (report.findings, report.proved, len(report.unproved)) == ((), Proved.NOTHING, 1)
        assert denied.name in report.unproved[0]
        if what == "shard":
            with pytest.raises(StoreError) as caught:
                unprivileged(lambda: plan_repair(str(copy), spares=[str(dataset)]))
            assert (caught.value.code, caught.value.where) == ("denied", str(shard))
            (tmp_path / "list").write_text((copy / "SHA256SUMS").read_text())
            listed = unprivileged(lambda: verify(str(tmp_path / "list"), at=str(copy)))
            assert (listed.findings, len(listed.unproved)) == ((), 1)
    finally:
        denied.chmod(0o755)


@pytest.mark.parametrize("level", ["size", "digest", "samples", "decode"])
def test_a_split_is_verified_alone(dataset: Path, manifest: Path, tmp_path: Path, level: str) -> None:
    val = [shard for shard in shards_of(dataset) if shard.startswith("val/")]
    copy = shutil.copytree(dataset, tmp_path / "copy")
    shutil.rmtree(copy / "train")
    ran = run_command("verify", manifest, "--at", copy, "--split", "val", "--level", level, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.summary["checked"]["shards"] == len(val)
    assert ran.summary["proved"] == ("nothing" if level == "size" else "forger")
    (copy / val[0]).unlink()
    assert run_command("verify", manifest, "--at", copy, "--split", "val", "--level", level).code == 1


def test_a_split_that_is_not_there_is_refused(dataset: Path) -> None:
    ran = run_command("verify", dataset, "--split", "vall", "--json")
    assert (ran.code, ran.error["code"]) == (2, "split-missing")


@pytest.mark.parametrize("name", ["", "renamed.tar", "no ending"])
def test_one_shard_file_is_verified_as_the_shard_that_it_is(
    dataset: Path, manifest: Path, tmp_path: Path, name: str
) -> None:
    shard = shards_of(dataset)[1]
    one = tmp_path / (name or shard.rpartition("/")[2])
    shutil.copy(dataset / shard, one)
    ran = run_command("verify", manifest, "--at", one, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert (ran.summary["checked"]["shards"], ran.summary["root"]) == (1, open_dataset(dataset).root)
    one.write_bytes(flipped(one.read_bytes(), 3000, 1))
    damaged = run_command("verify", manifest, "--at", one, "--json")
    assert (damaged.code, damaged.summary["findings"], damaged.summary["proved"]) == (1, 1, "nothing")


def test_a_shard_beside_its_own_manifest_is_not_proved_by_it(dataset: Path) -> None:
    shard = dataset / shards_of(dataset)[0]
    assert verify(dataset, at=shard).proved is Proved.ACCIDENT
    assert verify(dataset, at=shard, root=open_dataset(dataset).root).proved is Proved.FORGER


def test_a_file_that_is_no_shard_of_the_dataset_is_named(dataset: Path, manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(b"\0" * 10240)
    ran = run_command("verify", manifest, "--at", other, "--json")
    assert (ran.code, ran.lines[0]["cause"], ran.summary["proved"]) == (1, "of-another", "nothing")
    missing = run_command("verify", manifest, "--at", tmp_path / "gone.tar", "--json")
    assert (missing.code, missing.error["code"]) == (4, "not-found")


def test_another_dataset_is_one_finding(dataset: Path, manifest: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", train=21, val=5, shard_samples=5)
    ran = run_command("verify", manifest, "--at", other)
    assert ran.code == 1
    assert f"root {open_dataset(other).root}" in ran.out
    assert "another dataset is here" in ran.out
    found = run_command("verify", manifest, "--at", other, "--json")
    assert [line["cause"] for line in found.lines if line["type"] == "finding"] == ["another-dataset"]
    (report,) = verify(open_dataset(dataset), at=other).findings
    assert (report.cause, report.got) == ("another-dataset", open_dataset(other).root)


def test_a_place_without_the_shards_is_one_finding_that_says_where_it_looked(manifest: Path, tmp_path: Path) -> None:
    ran = run_command("verify", manifest)
    assert ran.code == 1
    assert f"{tmp_path}" in ran.out
    assert "next to the manifest" in ran.out
    assert "--at WHERE" in ran.err + ran.out
    (tmp_path / "empty").mkdir()
    for more in ((), ("--only-present",)):
        found = run_command("verify", manifest, "--at", tmp_path / "empty", "--json", *more)
        assert [line["cause"] for line in found.lines if line["type"] == "finding"] == ["shards-missing"]
        assert (found.code, found.summary["proved"]) == (1, "nothing")


def test_a_pipe_is_no_shard(manifest: Path, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "one.tar")
    assert_clean_failure(run_command("verify", manifest, "--at", tmp_path / "one.tar"), 1, 4)


@pytest.mark.parametrize("extra", [(), ("--only-present",)])
def test_what_is_not_here_is_a_shard_that_was_asked_for(extra: tuple[str, ...], manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    ran = run_command("verify", manifest, "--at", tmp_path / "none", "--split", "val", *extra, "--json")
    found = [line for line in ran.lines if line["type"] == "finding"]
    assert [line["expected"].partition("/")[0] for line in found] == ["val"]
    assert ran.summary["checked"]["shards"] > 0
    assert "in 0 shards" not in run_command("verify", manifest, "--at", tmp_path / "none", "--split", "val", *extra).out


def test_shards_that_lie_without_their_folder_are_pointed_out(dataset: Path, manifest: Path, tmp_path: Path) -> None:
    shard = next(path for path in shards_of(dataset) if path.startswith("train/"))
    name = shard.rpartition("/")[2]
    (tmp_path / "flat").mkdir()
    shutil.copy(dataset / shard, tmp_path / "flat" / name)
    ran = run_command("verify", manifest, "--at", tmp_path / "flat")
    assert ran.code == 1
    assert "the folder train/" in ran.out
    assert f"--at {tmp_path / 'flat' / name}" in ran.out
    assert run_command("verify", manifest, "--at", tmp_path / "flat" / name).code == 0
    other = run_command("verify", manifest, "--at", tmp_path / "flat", "--split", "val")
    assert name not in other.out


def test_no_root_digest_is_spoken_of_as_given_where_none_was(dataset: Path, manifest: Path) -> None:
    ran = run_command("verify", manifest, "--at", dataset)
    assert (ran.code, "against forgers" in ran.out, "root digest that was given" in ran.out) == (0, True, False)
