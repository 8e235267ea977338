"""``--json`` of every command is what its published schema says, and so are its errors."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer

from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from tests.support.damaged_dataset import shards_of
from tests.support.json_lines import check_lines
from wdstools.cli import commands
from wdstools.cli.output import JSON_SCHEMA
from wdstools.cli.program import app
from wdstools.cli.schema import read_schema, schema_names

commands.load_all()
COMMANDS = tuple(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group has commands
#: A few samples are done sooner than workers start.
SERIAL = {"WDSTOOLS_EXECUTOR": "serial"}
ROOT = Path(__file__).parents[2]


def test_every_command_has_a_schema_that_is_one() -> None:
    assert set(schema_names()) == {*COMMANDS, "error"}
    for name in came(schema_names()):
        document = json.loads(read_schema(name))
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["version"] == JSON_SCHEMA
        assert {branch["properties"]["type"]["const"] for branch in document["anyOf"]} >= {"error"}


def test_the_schemas_are_those_of_the_types() -> None:
    spec = importlib.util.spec_from_file_location("make_schemas", ROOT / "docs" / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    maker: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    written = {name: read_schema(name) for name in schema_names()}
    assert maker.render() == written, "run: make docs"


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source with faults, a second one, a dataset of each kind, a damaged one, and a key."""
    place = tmp_path_factory.mktemp("json")
    write_city_pairs(place / "source", damaged=True)
    for name, number in (
        ("source/{}/train/oslo/again", 0),
        ("more/{}/train/oslo/new", 900),
        ("more/{}/val/oslo/old", 1),
    ):
        for folder, ending, data in (("img", ".jpg", tiny_jpeg(number)), ("captions", ".txt", b"one more")):
            path = place / (name.format(folder) + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (place / "source" / "captions" / "train" / "oslo" / "alone.txt").write_text("no image")
    assert run_command("pack", "source", "set", "--json", cwd=place, env=SERIAL).code == 3
    assert run_command("pack", "source", "even", "--resize", "16", "--split", "all", cwd=place, env=SERIAL).code == 3
    shutil.copytree(place / "set", place / "hurt")
    shard = place / "hurt" / shards_of(place / "hurt")[0]
    data = shard.read_bytes()
    shard.write_bytes(data[:600] + bytes(40) + data[640:])
    assert run_command("append", "set", "more", "-o", "next", "-y", cwd=place, env=SERIAL).code == 0
    key = run_command("ls", "set", "train", cwd=place).out.split("\n")[0]
    (place / "scores.csv").write_text(f"key,score\n{key},0.5\n")
    (place / "keys.txt").write_text("no such key\n")
    return place


#: How each command is run, and which types of lines come; the others are seen elsewhere, where they can be brought about.
RUNS: dict[str, tuple[tuple[str, set[str]], ...]] = {
    "scan": (("scan source", {"skip", "summary"}), ("scan nowhere", {"error"})),
    "pack": (
        ("pack source new", {"summary"}),
        ("pack source other -n", {"skip", "summary"}),
        ("pack source set", {"error"}),
    ),
    "append": (
        ("append set more -o appended -n", {"step", "summary"}),
        ("append set more -o appended", {"step", "error"}),
        ("append set more -o appended -y", {"step", "summary"}),
    ),
    "adopt": (("adopt set/train -o adopted", {"summary"}),),
    "demo": (("demo tour --samples 40", {"summary"}),),
    "info": (("info set", {"summary"}), ("info source", {"error"})),
    "ls": (
        ("ls set", {"shard", "summary"}),
        ("ls set train", {"sample", "summary"}),
        ("ls set -l", {"sample", "summary"}),
        ("ls set --keys keys.txt", {"summary"}),
    ),
    "head": (("head set", {"sample", "summary"}),),
    "cat": (("cat set KEY.jpg", {"member", "summary"}), ("cat set KEY.txt", {"member", "summary"})),
    "stats": (("stats set", {"summary"}), ("stats set --keys keys.txt", {"summary"})),
    "view": (("view set --html page.html", {"summary"}), ("view set --html /nowhere/x.html", {"error"})),
    "schema": (("schema", {"schema", "summary"}), ("schema nothing", {"error"})),
    "verify": (("verify set", {"summary"}), ("verify hurt", {"finding", "summary"})),
    "diff": (("diff set next", {"difference", "summary"}), ("diff set set", {"summary"})),
    "duplicates": (
        ("duplicates set --level exact", {"group", "summary"}),
        ("duplicates set --against more --level exact", {"shared", "summary"}),
    ),
    "repair": (("repair hurt -n", {"unsolved", "summary"}), ("repair hurt --from set -y", {"step", "summary"})),
    "remove": (
        ("remove set --where label=='oslo' -o removed -n", {"step", "absent", "summary"}),
        ("remove set --keys keys.txt -o removed -y", {"absent", "summary"}),
        ("remove set --where label=='oslo' -o removed -y", {"step", "absent", "summary"}),
    ),
    "columns": (
        ("columns add set scores.csv -n", {"step", "summary"}),
        ("columns add set scores.csv -y", {"step", "summary"}),
        ("columns ls set", {"columns", "summary"}),
        ("columns rm set scores -y", {"step", "summary"}),
    ),
    "mirror": (
        ("mirror set mirrored -n", {"comparison", "step", "summary"}),
        ("mirror set mirrored -y", {"comparison", "step", "summary"}),
    ),
    "pull": (("pull set pulled -n", {"transfer", "step", "summary"}), ("pull set pulled", {"transfer", "summary"})),
    "extract": (("extract set files", {"summary"}),),
    "sign": (("sign set --key nowhere.pem", {"error"}),),
    "emit": (
        ("emit set --for timm -n", {"step", "summary"}),
        ("emit set --for timm -y", {"step", "summary"}),
        ("emit set", {"error"}),
    ),
    "doctor": (("doctor set --for tar", {"diagnosis", "summary"}),),
    "bench": (("bench even --seconds 0.01", {"summary"}), ("bench set --seconds 0.01", {"error"})),
}
assert set(RUNS) == set(COMMANDS), "how is the new command run?"


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_is_what_its_schema_says(name: str, place: Path, tmp_path: Path) -> None:
    place = shutil.copytree(place, tmp_path / "place")
    key = run_command("ls", "set", "train", cwd=place).out.split("\n")[0]
    for line, types in came(RUNS[name]):
        ran = run_command(*line.replace("KEY", key).split(), "--json", cwd=place, env=SERIAL)
        assert check_lines([name], ran.out, ran.err) == types, (line, ran.out[-500:], ran.err[-500:])
        assert "error" in types or ran.summary["exit_code"] == ran.code
