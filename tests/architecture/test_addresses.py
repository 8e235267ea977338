"""Addresses may hold secrets: there is one way to show one, and few places that may see the whole of one."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.support.syntax import modules

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What an address is called that somebody has typed. ``store.url`` is none of these: a store shows none of its secrets.
TYPED = {"url", "urls", "address", "proxy", "endpoint", "shards_at"}
#: What a command calls its arguments; elsewhere these are paths and names too.
ARGUMENTS = TYPED | {
    "place",
    "dataset",
    "path",
    "src",
    "shards",
    "before",
    "after",
    "at",
    "copies",
    "where",
    "target",
    "dest",
}
#: Addresses are put together here, to be asked; errors leave secrets out of whatever they are made of.
MAKES_ADDRESSES = {
    "address.py",
    "stores/bucket_store.py",
    "stores/google.py",
    "stores/hf.py",
    "stores/http.py",
    "stores/s3.py",
    "stores/web.py",
}
SEES_SECRETS = {"address.py", "stores/open.py", "ops/adopt.py"}


def shown_names(nodes: Iterable[ast.AST]) -> list[ast.Name]:
    """Bare names that are formatted into a text or quoted for a shell."""
    found: list[ast.AST] = []
    for node in nodes:
        if isinstance(node, ast.FormattedValue):
            found.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("quote", "say"):
            found += node.args
    return [node for node in found if isinstance(node, ast.Name)]


def errors_in(nodes: Iterable[ast.AST]) -> set[ast.AST]:
    """Everything inside what is raised: errors hide secrets themselves."""
    return {inner for node in nodes if isinstance(node, ast.Raise) for inner in ast.walk(node)}


def test_no_address_is_shown_but_by_display() -> None:
    loose = []
    for name, _, nodes in modules():
        if name in MAKES_ADDRESSES:
            continue
        names, raised = (ARGUMENTS if name.startswith("cli/commands/") else TYPED), errors_in(nodes)
        loose += [
            f"{name}:{node.lineno} {node.id}" for node in shown_names(nodes) if node.id in names and node not in raised
        ]
    assert loose == []


def test_the_whole_of_an_address_is_seen_in_few_places() -> None:
    seen = {
        name
        for name, _, nodes in modules()
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr == "secret"
    }
    assert seen <= SEES_SECRETS


def test_requests_are_sent_by_one_module() -> None:
    """What bounds answers and keeps credentials at home is ``stores.web``; obstore only finds identities, in a process of its own."""
    users: dict[str, set[str]] = {}
    for name, _, nodes in modules():
        for node in nodes:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for top in {imported.split(".")[0] for imported in names} & {
                "urllib3",
                "obstore",
                "botocore",
                "requests",
                "http",
                "socket",
            }:
                users.setdefault(top, set()).add(name)
    assert users == {
        "urllib3": {"stores/meter.py", "stores/web.py"},
        "http": {"stores/meter.py", "stores/obstore_login.py"},
        # one listens and asks nobody, one asks whether a cluster listens and says nothing
        "socket": {"stores/meter.py", "report/viewer/server.py", "executors/ray_cluster.py"},
        "obstore": {"stores/obstore_login.py"},
        "botocore": {"stores/s3_account.py"},
    }
