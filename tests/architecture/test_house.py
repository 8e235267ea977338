"""The rules that keep the house livable: sizes, signatures, imports at start, public names, where things are allowed."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from statistics import quantiles
from typing import TYPE_CHECKING

import pytest

import wdstools
from tests.support.syntax import PACKAGE, modules

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(PACKAGE.rglob("*.py"))
#: Commands are option declarations; the rule for them is the length of their body.
COMMANDS = "cli/commands/"


def _functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path, node)
        for path, _, nodes in modules()
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_files_are_short() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > 600} == {}
    assert quantiles(lengths.values(), n=20)[-1] <= 350


def test_functions_are_short() -> None:
    lengths = {f"{path}:{node.name}": _body_lines(node) for path, node in _functions()}
    assert {name: n for name, n in lengths.items() if n > 60} == {}
    assert quantiles(lengths.values(), n=20)[-1] <= 35


def _weight(argument: ast.arg) -> int:
    """A tuple of unlike things counts as its parts."""
    kind = argument.annotation
    if isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "tuple" and isinstance(kind.slice, ast.Tuple):
        parts = [ast.unparse(part).removesuffix(" | None") for part in kind.slice.elts]
        return len(parts) if len(set(parts)) > 1 and parts[-1] != "..." else 1
    return 1


def test_functions_take_at_most_six_required_or_positional_parameters() -> None:
    crowded = {}
    for path, node in _functions():
        arguments = node.args
        positional = [a for a in (*arguments.posonlyargs, *arguments.args) if a.arg not in ("self", "cls")]
        required = [a for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
        count = sum(map(_weight, (*positional, *required)))
        if not path.startswith(COMMANDS) and count > 6:
            crowded[f"{path}:{node.name}"] = count
    assert crowded == {}


def test_a_commands_body_is_at_most_15_lines() -> None:
    long = {node.name: n for path, node in _functions() if path.startswith(COMMANDS) and (n := _body_lines(node)) > 15}
    assert long == {}


def test_public_names_have_docstrings() -> None:
    bare = []
    for path, tree, _ in modules():
        if not ast.get_docstring(tree):
            bare.append(path)
        holders: list[ast.Module | ast.ClassDef] = [tree]
        holders += [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
        for holder in holders:
            bare += [
                f"{path}:{node.name}"
                for node in holder.body
                if isinstance(node, ast.ClassDef | ast.FunctionDef)
                and node.name[0] != "_"
                and not ast.get_docstring(node)
            ]
    assert bare == []


@pytest.mark.parametrize(
    ("what", "allowed"),
    [
        ("print(", ()),
        (
            "os.environ",
            (
                "cli/app.py",
                "cli/session.py",
                "cli/standard.py",
                "reader/ranks.py",
                "stores/azure.py",
                "stores/google.py",
                "stores/obstore_login.py",
                "stores/s3_account.py",
                "user_cache.py",
            ),
        ),
        ("logging.basicConfig", ()),
    ],
)
def test_what_only_some_modules_may_do(what: str, allowed: tuple[str, ...]) -> None:
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(line.strip().startswith(what) or f" {what}" in line for line in _code_lines(path))
    ]
    assert [user for user in users if user not in allowed] == []


def test_parquet_is_read_in_one_place_that_bounds_it() -> None:
    readers = {
        path
        for path, _, nodes in modules()
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr in ("read_table", "iter_batches")
    }
    assert readers == {"formats/parquet_files.py"}


def test_no_function_changes_a_modules_state() -> None:
    users = [path for path, _, nodes in modules() for node in nodes if isinstance(node, ast.Global)]
    assert users == []


def _code_lines(path: Path) -> list[str]:
    return [
        line for line in path.read_text().splitlines() if not line.lstrip().startswith(("#", '"""', "say(", "``", '"'))
    ]


def test_broad_excepts_stand_only_at_the_boundaries() -> None:
    users = set()
    for path, _, nodes in modules():
        for node in nodes:
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception")
            ):
                users.add(path)
    assert users == {"cli/app.py", "executors/local.py", "reader/worker_processes.py"}


def test_importing_wdstools_loads_nothing_heavy() -> None:
    code = (
        "import sys, wdstools; wdstools.UsageError;"
        "heavy = {'numpy', 'PIL', 'torch', 'typer', 'rich', 'pyarrow', 'awscrt', 'numba', 'webdataset'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_packing_loads_no_kernels_before_it_needs_them() -> None:
    code = "import sys, wdstools.ops.pack, wdstools.writer.shard; print({'numba', 'torch', 'PIL.Image'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_every_public_name_is_there() -> None:
    assert sorted(wdstools.__all__) == list(wdstools.__all__)
    installed = importlib.util.find_spec("torch") is not None
    for name in wdstools.__all__:
        assert (name == "torch" and not installed) or getattr(wdstools, name) is not None
    assert len(wdstools.__all__) <= 110
    with pytest.raises(AttributeError):
        _ = wdstools.no_such_name


def test_no_package_shares_a_name_with_a_public_function() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert modules & set(wdstools.__all__) == set()


#: Rooms whose files come from outside, and what they open otherwise than by ``stores.local``: a folder, whose files are
#: opened below it without waiting.
FROM_OUTSIDE = (
    "sources",
    "foreign",
    "checks",
    "reader",
    "transfer",
    "dataset.py",
    "planning/options.py",
    "cli/log_file.py",
)
OPENED = {"sources/readers.py: os.open": 2}


def test_what_comes_from_outside_is_opened_in_one_place() -> None:
    """Elsewhere a pipe would be waited for, and a device read without end."""
    found: dict[str, int] = {}
    for name, _, nodes in modules():
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        for call in calls if name.startswith(FROM_OUTSIDE) else ():
            called, writes = ast.unparse(call.func), any(ast.unparse(word) in ("'x'", "'xb'") for word in call.args)
            if (
                called in ("open", "os.open", "io.open", "mmap.mmap")
                and not writes
                and ast.unparse(call.args[0]) != "-1"
            ):
                found[f"{name}: {called}"] = found.get(f"{name}: {called}", 0) + 1
    assert found == OPENED, "use stores.local.open_plain, buffered_plain or plain_fd"
