"""The rules that keep the tests honest: none passes because there was nothing to look at."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.came import came

TESTS = Path(__file__).parents[1]
#: What never changes the number of things that come.
_SAME_NUMBER = ("enumerate", "reversed", "sorted", "items", "values", "keys", "zip", "list", "tuple")


def _asserts(node: ast.AST) -> bool:
    """Whether this statement or call can fail a test of itself."""
    if isinstance(node, ast.Assert):
        # all() of nothing is true
        test = node.test
        only_all = isinstance(test, ast.Call) and ast.unparse(test.func) == "all" and _may_be_empty(test.args[0], {})
        return not only_all
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        return "assert" in name or name in ("raises", "fail")
    return False


def _may_be_empty(things: ast.expr, given: dict[str, ast.expr | None]) -> bool:
    """Whether a loop over this may have no turn; ``given`` is what the test's names stand for, None for a parameter."""
    if isinstance(things, ast.Tuple | ast.List | ast.Set | ast.Dict):
        parts = [part for part in (things.keys if isinstance(things, ast.Dict) else things.elts) if part is not None]
        return all(isinstance(part, ast.Starred) and _may_be_empty(part.value, given) for part in parts)
    if isinstance(things, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return any(part.ifs or _may_be_empty(part.iter, given) for part in things.generators)
    if isinstance(things, ast.Name):
        return things.id not in given or ((value := given[things.id]) is not None and _may_be_empty(value, given))
    if isinstance(things, ast.BinOp):
        return _may_be_empty(things.left, given)
    if not isinstance(things, ast.Call):
        return True
    name = ast.unparse(things.func).rpartition(".")[2]
    if name in ("came", "write_files", "sample") or (name == "range" and isinstance(things.args[-1], ast.Constant)):
        return False
    inner = things.func.value if isinstance(things.func, ast.Attribute) and not things.args else None
    wrapped = [*things.args] if inner is None else [inner]
    return name not in _SAME_NUMBER or any(_may_be_empty(part, given) for part in wrapped)


def _leaves(statement: ast.stmt) -> bool:
    """Whether a branch of this ends the test with nothing asserted."""
    branches = [handler.body for handler in statement.handlers] if isinstance(statement, ast.Try) else []
    if isinstance(statement, ast.If):
        branches = [statement.body, statement.orelse]
    return any(isinstance(body[-1], ast.Return) and not _sure(body, {}) for body in branches if body)


def _blocks(statement: ast.stmt, given: dict[str, ast.expr | None]) -> list[list[ast.stmt]] | None:
    """The blocks of a statement that run whatever comes; None for a statement without blocks."""
    if isinstance(statement, ast.For):
        return [] if _may_be_empty(statement.iter, given) else [statement.body]
    if isinstance(statement, ast.With):
        heads: list[ast.stmt] = [ast.Expr(item.context_expr) for item in statement.items]
        return [heads, statement.body]
    if isinstance(statement, ast.Try):
        return [statement.body, statement.orelse, statement.finalbody]
    if isinstance(statement, ast.If):
        both = _sure(statement.body, dict(given)) and _sure(statement.orelse, dict(given))
        return [statement.body] if both else []
    return [] if isinstance(statement, ast.While | ast.FunctionDef) else None


def _sure(body: list[ast.stmt], given: dict[str, ast.expr | None]) -> bool:
    """Whether an assert is reached: one outside all loops, or in a loop that surely has a turn."""
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            given[statement.targets[0].id] = statement.value
        if isinstance(statement, ast.Return) or _leaves(statement):
            return False
        blocks = _blocks(statement, given)
        if blocks is None:
            if any(_asserts(part) for part in ast.walk(statement)):
                return True
        elif any(_sure(block, given) for block in blocks):
            return True
    return False


def vacuous(code: str) -> list[str]:
    """The tests in which every assert may be passed by."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        means_to = any(isinstance(part, ast.Assert) or _asserts(part) for part in ast.walk(node))
        if means_to and not _sure(node.body, dict.fromkeys(argument.arg for argument in node.args.args)):
            found.append(node.name)
    return found


def test_no_test_asserts_only_where_it_may_not_come() -> None:
    files = [*TESTS.rglob("test_*.py")]
    found = {f"{path.relative_to(TESTS)}::{name}" for path in came(files) for name in vacuous(path.read_text())}
    assert found == set(), "loop over came(...) of tests.support.came, or assert something outside the loop"


@pytest.mark.parametrize(
    ("body", "passes_on_nothing"),
    [
        ("for x in made(): assert x", True),
        ("for x in came(made()): assert x", False),
        ("for x in (1, 2): assert x", False),
        ("for x in [*made()]: assert x", True),
        ("things = [1]\n for x in enumerate(things): assert x", False),
        ("for x in (1, 2):\n  for y in made(x): assert y", True),
        ("assert all(x for x in made())", True),
        ("assert all(x for x in (1, 2))", False),
        ("for x in made(): assert x\n assert made()", False),
        ("if made(): assert 1", True),
        ("if made(): assert 1\n else: assert 2", False),
        ("if made(): return\n assert 1", True),
        ("if made():\n  assert 1\n  return\n assert 2", False),
        ("try: x = made()\n except ValueError: return\n assert x", True),
        ("def seen(x): assert x\n made(seen)", True),
        ("for x in made():\n  with pytest.raises(ValueError): x()", True),
        ("with pytest.raises(ValueError): made()", False),
        ("assert_clean(made())", False),
    ],
)
def test_the_rule_knows_what_may_be_nothing(body: str, passes_on_nothing: bool) -> None:
    assert vacuous(f"def test_it():\n {body}\n") == (["test_it"] if passes_on_nothing else [])
