"""Options: declared once, checked alike in Python and on the command line, and named as the reader types them."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import pytest
import typer

import wdstools as wt
import wdstools.options
from tests.support.city_pairs import write_city_pairs
from tests.support.command import assert_clean_failure, run_command
from wdstools.cli import commands
from wdstools.cli.program import app
from wdstools.errors import UsageError, option
from wdstools.options.declare import Option, StrPath, declared, settle
from wdstools.planning.options import make_options

if TYPE_CHECKING:
    from pathlib import Path


class _Choices(TypedDict, total=False):
    size: Annotated[int | None, Option(None, "A size.", least=1, most=9)]
    rate: Annotated[float, Option(0.5, "A rate.", least=0)]
    mode: Annotated[Literal["fast", "slow"], Option("fast", "How.")]
    keep: Annotated[bool, Option(False, "Whether to keep it.")]
    names: Annotated[Sequence[str] | str | None, Option(None, "Names.", flag="--name")]
    place: Annotated[StrPath | None, Option(None, "Where.")]


def test_what_is_not_given_has_its_default() -> None:
    settled = settle(_Choices, {"mode": "slow"})
    assert settled == {"size": None, "rate": 0.5, "mode": "slow", "keep": False, "names": None, "place": None}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", 0, "1 to 9"),
        ("size", 10, "1 to 9"),
        ("size", "3", "a whole number"),
        ("size", True, "a whole number"),
        ("size", 2.5, "a whole number"),
        ("rate", -1, "at least 0"),
        ("rate", "fast", "a number"),
        ("mode", "quick", "fast or slow"),
        ("mode", None, "fast or slow"),
        ("keep", 1, "True or False"),
        ("names", 3, "a list or text"),
        ("place", b"bytes", "text or a path"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused(name: str, value: Any, expected: str) -> None:
    given: Any = {name: value}
    with pytest.raises(UsageError) as caught:
        settle(_Choices, given)
    assert caught.value.where == name
    assert caught.value.expected == expected


def test_values_that_options_can_have_are_taken(tmp_path: Path) -> None:
    given: _Choices = {"size": 9, "rate": 1, "names": ("a", "b"), "place": tmp_path}
    assert {**settle(_Choices, given), **given} == settle(_Choices, given)


def test_a_misspelt_option_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        wt.pack(tmp_path, tmp_path / "out", resise=300)  # type: ignore[call-arg]  # a type checker says the same
    assert str(caught.value).startswith("no option resise; did you mean resize?")
    assert caught.value.code == "no-such-option"


def test_an_error_names_an_option_as_its_reader_types_it() -> None:
    hint = f"add {option('convert', 'jpg')}, {option('resplit', True)} or {option('shards', 3)}"
    error = copy.copy(UsageError("not so", where=option("splits"), hint=hint))  # as a worker's error arrives
    assert (error.where, error.hint) == ("splits", "add convert='jpg', resplit=True or shards=3")
    error.name_flags({"splits": "--split"})
    assert (error.where, error.hint) == ("--split", "add --convert jpg, --resplit or --shards 3")


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("--resize", "0"), "--resize"),
        (("--check", "some"), "--check"),
        (("--split", "a=b=c,d=1"), "--split a=b=c,d=1"),
        (("--resplit",), ""),
        (("--jobs", "-1"), ""),
    ],
)
def test_the_command_line_names_flags(arguments: tuple[str, ...], where: str, tmp_path: Path) -> None:
    write_city_pairs(tmp_path / "in", train=2, val=1)
    ran = run_command("pack", tmp_path / "in", tmp_path / "out", *arguments, "--json")
    assert_clean_failure(ran, 2)
    assert ran.error.get("where", "").startswith(where)
    assert not (tmp_path / "out").exists()


def test_the_library_names_parameters(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        wt.pack(tmp_path, tmp_path / "out", quality=101)
    assert (caught.value.where, caught.value.expected) == ("quality", "1 to 100")


def test_an_option_of_several_values_may_be_given_several_times_on_the_command_line(tmp_path: Path) -> None:
    copies = ("--from", tmp_path / "a", "--from", tmp_path / "b")
    ran = run_command("repair", tmp_path, *copies, "-n", "--json")
    assert_clean_failure(ran, 1, 4)
    assert ran.error["code"] != "usage"


def test_every_declared_option_is_a_flag_of_its_kind() -> None:
    commands.load_all()
    known: dict[str, set[tuple[bool, bool]]] = {}
    for one in (one for kind in _kinds() for one in declared(kind)):
        several = one.option.read is None and "Sequence" in str(one.kind)
        known.setdefault(one.name, set()).add((several, isinstance(one.option.default, bool)))
    program: Any = typer.main.get_command(app)
    found = [(p, known[p.name]) for c in program.commands.values() for p in c.params if p.name in known]
    assert len(found) > 60
    for parameter, kinds in found:
        if parameter.param_type_name == "option":
            assert (parameter.multiple, parameter.is_flag) in kinds, parameter.name


def _kinds() -> list[type]:
    modules = [
        importlib.import_module(f"wdstools.options.{m.name}") for m in pkgutil.iter_modules(wdstools.options.__path__)
    ]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__ and hasattr(kind, "__total__")
    ]


def test_every_option_says_what_it_means_in_a_sentence_and_has_a_default_of_its_own_kind() -> None:
    found = [one for kind in _kinds() for one in declared(kind)]
    assert len(found) > 20
    for one in found:
        assert one.option.help.endswith("."), one.name
        assert one.check(one.option.default) == one.option.default


@pytest.mark.parametrize(("beside", "named"), [({"shards": 3}, "shards"), ({"like": "other"}, "like")])
def test_a_bound_on_bytes_beside_what_divides_already_is_refused_and_named(beside: dict[str, Any], named: str) -> None:
    assert make_options(shard_bytes=1 << 20).layout.shard_bytes == 1 << 20
    with pytest.raises(UsageError) as caught:
        make_options(shard_bytes=1 << 20, **beside)
    assert (caught.value.code, caught.value.where) == ("option-idle", "shard_bytes")
    assert caught.value.message.endswith(f" {named}")
