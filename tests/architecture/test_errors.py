"""An error of ours is the end of a traceback: what it was made of is in its text."""

from __future__ import annotations

import ast
import errno
import traceback
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.syntax import modules

if TYPE_CHECKING:
    from pathlib import Path

#: Where the cause is somebody else's function or program, which its own traceback explains; and inside of the command line.
CAUSES = (
    "cli/",
    "executors/",
    "given.py",
    "interop/probe.py",
    "ops/bench/pipeline.py",
    "ops/columns/function.py",
    "ops/columns/values.py",
    "reader/torch.py",
    "reader/worker_processes.py",
    "sources/sidecar.py",
)


def test_errors_of_ours_are_raised_from_none() -> None:
    chained = [
        (path, node.lineno)
        for path, _, nodes in came(modules())
        for node in nodes
        if isinstance(node, ast.Raise) and node.cause is not None and ast.unparse(node.cause) != "None"
    ]
    assert [(name, line) for name, line in chained if not name.startswith(CAUSES)] == []
    assert chained, "the rule has exceptions"


def test_a_traceback_of_a_missing_dataset_is_one_error_long(tmp_path: Path) -> None:
    with pytest.raises(wt.NotFoundError) as caught:
        wt.open_dataset(tmp_path / "nowhere")
    told = "".join(traceback.format_exception(caught.value))
    assert told.count("Traceback (most recent call last)") == 1
    (tmp_path / "folder").mkdir()
    with pytest.raises(wt.StoreError) as refused:
        wt.open_store(str(tmp_path / "folder" / "x")).head("nothing")
    assert refused.value.errno == errno.ENOENT
