"""No module needs, by whatever way, a module that needs it."""

from __future__ import annotations

import grimp

#: How people read: ``dataset["train"]`` looks the reader up when it is first asked. And a type: what an error carries.
KNOWN = {("wdstools.dataset", "wdstools.reader.split"), ("wdstools.errors", "wdstools.results")}


def test_imports_go_in_no_circle() -> None:
    graph = grimp.build_graph("wdstools", cache_dir=None)
    needs = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    for module, other in KNOWN:
        assert other in needs[module], "this exception is not needed any more"
        needs[module].remove(other)
    while free := {module for module, others in needs.items() if not others}:
        needs = {module: others - free for module, others in needs.items() if module not in free}
    in_circles = {module: sorted(others) for module, others in needs.items() if others}
    assert in_circles == {}
