"""mirror --emitted: what emit wrote for other readers comes along, and is proved like everything else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.bad_store import BadStore
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset
from wdstools.dataset import open_dataset
from wdstools.errors import IntegrityError, UsageError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.interop.emitted import EMITTED_PATH, read_emitted
from wdstools.ops.doctor import doctor
from wdstools.ops.emit import plan_emit
from wdstools.ops.mirror import plan_mirror
from wdstools.ops.verify import verify
from wdstools.plan import apply
from wdstools.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path, train=20, val=5, shard_samples=6)
    apply(plan_emit(open_dataset(str(folder)), ("all",)))
    return folder


def test_a_mirror_with_what_was_emitted_opens_in_other_readers(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "mirror"
    ran = run_command("mirror", folder, target, "--emitted", "-y")
    assert ran.code == 0, ran.err
    here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    there = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert there == here - {".wdstools/remote-digests.json"}
    dataset = open_dataset(str(target))
    assert verify(dataset).ok
    assert {d.status for d in doctor(dataset, ("webdataset", "huggingface"))} == {"works"}
    again = run_command("mirror", folder, target, "--emitted", "-y", "--json")
    assert (again.code, again.summary["uploaded"]) == (0, 0)


def test_without_being_asked_for_they_stay_here(folder: Path) -> None:
    target = BadStore()
    plan_mirror(open_dataset(str(folder)), target).carry_out(Serial(), Silent())
    assert not [path for path in target.objects if "idx" in path or path.startswith(".nv-meta")]
    assert EMITTED_PATH not in target.objects


def test_they_are_stored_before_the_manifest_and_mended_after(folder: Path) -> None:
    dataset, target = open_dataset(str(folder)), BadStore()
    plan_mirror(dataset, target, emitted=True).carry_out(Serial(), Silent())
    emitted = {*read_emitted(dataset.metadata, dataset.manifest).files, EMITTED_PATH}
    puts = {path: number for number, path in enumerate(target.puts)}
    assert max(puts[path] for path in emitted) < puts["SHA256SUMS"] < puts[MANIFEST_PATH]
    target.flip("_info.json", 20)
    del target.objects["croissant.json"]
    plan = plan_mirror(dataset, target, emitted=True)
    assert {step.path for step in plan.steps} == {"_info.json", "croissant.json"}
    plan.carry_out(Serial(), Silent())
    assert plan_mirror(dataset, target, emitted=True).steps == ()


def test_one_that_was_changed_here_is_not_sent(folder: Path) -> None:
    data = (folder / "_info.json").read_bytes()
    (folder / "_info.json").write_bytes(data.replace(b"train", b"trajn"))
    target = BadStore()
    with pytest.raises(IntegrityError, match=r"_info\.json"):
        plan_mirror(open_dataset(str(folder)), target, emitted=True).carry_out(Serial(), Silent())
    assert MANIFEST_PATH not in target.objects


@pytest.mark.parametrize("state", ["never", "for another version"])
def test_what_was_not_emitted_cannot_come_along(state: str, folder: Path) -> None:
    if state == "never":
        (folder / EMITTED_PATH).unlink()
    else:
        document = json.loads((folder / EMITTED_PATH).read_bytes())
        (folder / EMITTED_PATH).write_text(json.dumps(document | {"root": "0" * 64}))
    with pytest.raises(UsageError) as caught:
        plan_mirror(open_dataset(str(folder)), BadStore(), emitted=True)
    assert (caught.value.code, caught.value.hint) == ("not-emitted", f"wdstools emit {folder} --for all")


def test_a_pulled_copy_has_none_of_them_and_emit_makes_the_same_there(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert run_command("pull", folder, copy).code == 0
    opened = open_dataset(str(folder))
    paths = read_emitted(opened.metadata, opened.manifest).files
    assert [path for path in paths if (copy / path).exists()] in ([], ["README.md"])  # the card is the dataset's own
    assert not (copy / EMITTED_PATH).exists()
    assert verify(open_dataset(str(copy))).ok
    apply(plan_emit(open_dataset(str(copy)), ("all",)))
    made_here = {path for path in paths if not path.endswith((".sqlite", ".uuid"))}
    assert {path for path in made_here if (copy / path).read_bytes() != (folder / path).read_bytes()} == set()
