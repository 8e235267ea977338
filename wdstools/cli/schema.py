"""The JSON Schemas of what commands print with ``--json``. ``make docs`` writes the files from the types."""

from __future__ import annotations

import os

from wdstools.errors import UsageError
from wdstools.stores.local import translated

FOLDER = os.path.join(os.path.dirname(__file__), "schemas")


def schema_names() -> tuple[str, ...]:
    """The names of all schemas: every command, and ``error``, which any command may end with."""
    return tuple(sorted(name.removesuffix(".json") for name in os.listdir(FOLDER)))


def read_schema(name: str) -> str:
    """The schema of the lines of a command, as JSON; raises UsageError."""
    if name not in schema_names():
        raise UsageError("no such command", code="no-such-command", where=name, expected=", ".join(schema_names()))
    path = os.path.join(FOLDER, f"{name}.json")
    with translated(path), open(path, encoding="utf-8") as file:
        return file.read()
