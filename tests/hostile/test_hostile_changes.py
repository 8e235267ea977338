"""Datasets made to harm those who extract from them, repair them, take samples out of them or compare them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.test_forged_metadata import FORGED, INDEX, forge_index, resign, set_column
from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS
from tests.support.limited import assert_announced, run_limited
from tests.support.outcome import snapshot
from wdstools import open_dataset, pack
from wdstools.formats.index import read_index
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH
from wdstools.stores.folders import make_folders, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def first(values: Iterable[Any], quick: int) -> list[Any]:
    """The first few in quick runs, all of them in slow ones: each is a command of its own, or several."""
    return [value if n < quick else pytest.param(value, marks=pytest.mark.slow) for n, value in enumerate(values)]


pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")
SHARD = "train/train-000000.tar"
EVIL = "evil"
VICTIMS = [SHARD, MANIFEST_PATH, INDEX, PROVENANCE_PATH, "SHA256SUMS", "README.md"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("original")
    pack(str(write_city_pairs(work / "src", train=5, val=2)), str(work / "out"))
    return work / "out"


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy two folders down, with something of the user's around it; nothing around may have changed afterwards."""
    place = tmp_path / "user" / "data"
    (tmp_path / "user" / "mine").mkdir(parents=True)
    (tmp_path / "user" / "mine" / "thesis").write_text("years of work")
    (tmp_path / "user" / "notes.txt").write_text("mine")
    copy = Path(shutil.copytree(original, place / "set"))
    yield copy
    around = {path for path in snapshot(tmp_path) if not path.startswith("user/data/")}
    assert around == {"user", "user/data", "user/mine", "user/mine/thesis", "user/notes.txt"}
    assert (tmp_path / "user/mine/thesis").read_text() == "years of work"


def edit_provenance(dataset: Path, **change: object) -> None:
    document = json.loads((dataset / PROVENANCE_PATH).read_text())
    (dataset / PROVENANCE_PATH).write_text(json.dumps({**document, **change}))
    resign(dataset)


def stage(dataset: Path, text: str) -> None:
    folder = dataset / ".wdstools/staged"
    folder.mkdir()
    (folder / "commit.json").write_text(text)
    (folder / EVIL).write_text(EVIL)


SOURCES = ["../../mine/evil.jpg", "/tmp/wdstools-evil.jpg", "a/../../../x.jpg", "x\0.jpg", "", ".", "a//b.jpg"]


@pytest.mark.parametrize("source", first(SOURCES, 2))
def test_names_in_an_index_lead_nowhere_outside(source: str, dataset: Path) -> None:
    table = read_index((dataset / INDEX).read_bytes())
    forge_index(dataset, set_column(table, "source", [source] * table.num_rows))
    ran = run_limited("extract", dataset, "files", cwd=dataset.parent)
    assert_announced(ran, 2, 5)
    assert not (dataset.parent / "files").exists()
    assert not os.path.exists("/tmp/wdstools-evil.jpg")


def test_a_name_a_thousand_folders_deep_is_extracted_or_refused_by_the_file_system(dataset: Path) -> None:
    table = read_index((dataset / INDEX).read_bytes())
    forge_index(dataset, set_column(table, "source", [f"{'y/' * 1_200}{n}.jpg" for n in range(table.num_rows)]))
    ran = run_limited("extract", dataset, "files", cwd=dataset.parent)
    assert_announced(ran, 0, 2, 4, 5)
    assert (dataset.parent / "files").exists() == (ran.code == 0)
    remove_tree(str(dataset.parent / "files"), ignore_errors=True)


@pytest.mark.parametrize(
    "command",
    [
        ("verify",),
        ("repair", "-y"),
        *(pytest.param(c, marks=pytest.mark.slow) for c in (("repair", "-n"), ("scan",), ("adopt", "-o", "away"))),
    ],
)
def test_a_folder_a_thousand_deep_among_the_shards_is_answered(command: tuple[str, ...], dataset: Path) -> None:
    make_folders(f"{dataset}/train/{'y/' * 1_200}y")
    make_folders(f"{dataset}/.wdstools/staged/{'y/' * 1_200}y")
    assert_announced(run_limited(command[0], dataset, *command[1:], cwd=dataset.parent), 0, 1, 4, 5)
    remove_tree(f"{dataset}/train/y")
    remove_tree(f"{dataset}/.wdstools/staged", ignore_errors=True)


TEMPLATES = [
    "../../mine/{id}.jpg",
    "/{split}/{id}.jpg",
    "\ud800/{id}.jpg",
    "{id}\0.jpg",
    "{label}/../../{id}.jpg",
    "x{id}\x1b[2J",
]


@pytest.mark.parametrize("template", first(TEMPLATES, 3))
@pytest.mark.parametrize("field", first(["image", "base", "caption"], 1))
def test_templates_in_a_provenance_lead_nowhere_outside(template: str, field: str, dataset: Path) -> None:
    known = {"base": "", "image": "img/{split}/{label}/{id}.jpg", "caption": "c/{split}/{label}/{id}.txt"}
    edit_provenance(dataset, template={**known, field: template})
    assert_announced(run_limited("extract", dataset, "files", cwd=dataset.parent), 0, 2, 4, 5)


@pytest.mark.parametrize("text", first(["[" * 100_000, '{"template":' * 50_000, "null", "1e999", '"\\ud800"', "{}"], 1))
@pytest.mark.parametrize(
    "command",
    first([("extract", "set", "files"), ("repair", "set", "-y"), ("repair", "set", "--from", "set", "-y")], 2),
)
def test_a_provenance_of_any_form_is_answered(text: str, command: tuple[str, ...], dataset: Path) -> None:
    (dataset / PROVENANCE_PATH).write_text(text)
    if command[0] == "repair":
        (dataset / SHARD).write_bytes((dataset / SHARD).read_bytes()[:3000])
    assert_announced(run_limited(*command, cwd=dataset.parent), 0, 1, 4, 5)


OUTSIDE = "../../mine/thesis"
STAGES = [
    json.dumps({"moved": [], "deleted": [OUTSIDE]}),
    json.dumps({"moved": [], "deleted": ["/etc/wdstools-no-such-file"]}),
    json.dumps({"moved": [OUTSIDE], "deleted": []}),
    json.dumps({"moved": ["a\0b"], "deleted": []}),
    json.dumps({"moved": [[]], "deleted": {}}),
    json.dumps({"moved": 1}),
    "[" * 100_000,
    "",
]


@pytest.mark.parametrize("text", first(STAGES, 3))
@pytest.mark.parametrize("lost", first([True, False], 1))
def test_an_interrupted_change_that_came_with_a_dataset_touches_nothing_outside(
    text: str, dataset: Path, *, lost: bool
) -> None:
    stage(dataset, text)
    if lost:
        (dataset / MANIFEST_PATH).unlink()
    for command in (("repair", dataset, "-y"), ("verify", dataset), ("ls", dataset)):
        assert_announced(run_limited(*command), 0, 1, 4, 5)


#: Each ends in another part of the code; the rest is tried on the reading side.
FORGERIES = ("keys that lead outside", "offsets beyond the shard", "huge group lengths", "hostile extension", "no rows", "null keys",
             "overlapping groups", "a column less")  # fmt: skip


@pytest.mark.parametrize("forgery", first(FORGERIES, 1))
def test_a_forged_index_is_answered_by_every_command(forgery: str, dataset: Path) -> None:
    good = dataset.with_name("good")
    shutil.copytree(dataset, good)
    forge_index(dataset, FORGED[forgery](read_index((dataset / INDEX).read_bytes())))
    home = dataset.parent
    commands = {
        "extract": ("extract", "set", "files"),
        "repair": ("repair", "set", "--from", "good", "-n"),
        "hostile copy": ("repair", "good", "--from", "set", "-y"),
        "remove": ("remove", "set", "--where", "width > 0", "-o", "less"),
        "append": ("append", "set", "good", "-o", "more", "-y"),
        "diff": ("diff", "good", "set"),
    }
    (good / SHARD).write_bytes((good / SHARD).read_bytes()[:3000])
    for name, command in commands.items():
        ran = run_limited(*command, cwd=home)
        assert_announced(ran, 0, 1, 2, 4, 5)
        assert name != "hostile copy" or (good / MANIFEST_PATH).exists()


@pytest.mark.parametrize("victim", first(VICTIMS, 2))
def test_repairing_replaces_a_link_and_never_what_it_leads_to(victim: str, dataset: Path) -> None:
    good = dataset.with_name("good")
    shutil.copytree(dataset, good)
    (dataset / victim).unlink()
    (dataset / victim).symlink_to(dataset.parents[1] / "mine/thesis")
    ran = run_limited("repair", dataset, "--from", good, "-y")
    # what is in a card stays there, for it is the owner's: of another file nothing is taken over
    assert_announced(ran, 4 if victim == "README.md" else 0)
    assert (dataset / victim).is_symlink() == (victim == "README.md")
    assert victim == "README.md" or (dataset / victim).read_bytes() == (good / victim).read_bytes()


CHANGES = [
    ("repair", "set", "--from", "good", "-y"),
    ("repair", "set", "--from", "good", "--delete", "-y"),
    ("remove", "set", "--where", "width > 30", "--in-place", "-y"),
    ("remove", "set", "--keys", "keys", "--in-place", "-y"),
    ("append", "set", "more", "--in-place", "--shards", "1", "-y"),
]


@pytest.mark.parametrize("folder", first(["train", ".wdstools/index", ".wdstools"], 2))
@pytest.mark.parametrize("command", first(CHANGES, 1))
def test_nothing_is_written_through_a_folder_that_is_a_link_to_somewhere_else(
    folder: str, command: tuple[str, ...], dataset: Path
) -> None:
    home, elsewhere = dataset.parent, dataset.parents[2] / "elsewhere"
    shutil.copytree(dataset, home / "good")
    write_city_pairs(home / "more", train=9, val=3)
    (home / "keys").write_text("\n".join(list(open_dataset(str(dataset))["train"].keys())[:2]))
    shutil.copytree(dataset / folder, elsewhere)
    shutil.rmtree(dataset / folder)
    (dataset / folder).symlink_to(elsewhere)
    (elsewhere / ("x.parquet" if folder == ".wdstools" else "x.tar")).write_text("mine")
    for victim in (SHARD, INDEX):
        if command[0] == "repair":
            (dataset / victim).write_bytes((dataset / victim).read_bytes()[:1000])
    before = snapshot(elsewhere)
    ran = run_limited(*command, cwd=home)
    assert_announced(ran, 4)
    assert "leads outside" in ran.err
    assert snapshot(elsewhere) == before
    shutil.rmtree(elsewhere)


def make_odd(kind: str, path: Path) -> None:
    path.unlink()
    if kind == "endless device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 1 << 40)


@pytest.mark.parametrize("victim", first(VICTIMS, 1))
@pytest.mark.parametrize("kind", ["endless device", "pipe", pytest.param("terabyte", marks=pytest.mark.slow)])
def test_what_is_no_plain_file_is_answered(kind: str, victim: str, dataset: Path) -> None:
    make_odd(kind, dataset / victim)
    if (kind, victim) != ("terabyte", SHARD):  # hashing a terabyte of nothing takes what it takes
        assert_announced(run_limited("verify", dataset), 1, 4, 5)
    assert_announced(run_limited("extract", dataset, dataset.parent / "files"), 0, 1, 4, 5)
