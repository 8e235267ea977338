"""Check JSON lines against the schema of the command that printed them."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from wdstools.cli.schema import read_schema, schema_names

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many lines of each type are checked: the same few lines of code make them all.
_OF_EACH = 5


def check_lines(arguments: Sequence[str], out: str, err: str) -> set[str]:
    """Check lines against the schema, which must match them exactly; returns the types of the lines seen."""
    name = next((word for word in arguments if word in schema_names()), "error")
    seen: Counter[str] = Counter()
    for text in (*out.splitlines(), *(line for line in err.splitlines() if line.startswith('{"'))):
        line = json.loads(text)
        kind = line["type"]
        seen[kind] += 1
        if seen[kind] <= _OF_EACH or kind == "summary":
            check_line(name, line)
    return set(seen)


def check_line(name: str, line: dict[str, Any]) -> None:
    """Fail if this command's schema has no such line, or if the line has a field that the schema does not name."""
    known = _validators(name)
    assert line["type"] in known, f"{name} --json: no line of type {line['type']} in its schema: docs/make_schemas.py"
    faults = [[error.message for error in one.iter_errors(line)] for one in known[line["type"]]]
    assert [] in faults, f"{name} --json, {line['type']}: {faults}; has a type changed? make docs"


@cache
def _validators(name: str) -> dict[str, list[Any]]:
    """The alternatives for each type of line, closed to further fields, which the published schemas allow."""
    import jsonschema

    document = json.loads(read_schema(name))
    found: dict[str, list[Any]] = {}
    for branch in document["anyOf"]:
        schema = {"$schema": document["$schema"], "$defs": _closed(document["$defs"]), **_closed(branch)}
        validator = jsonschema.Draft202012Validator(schema)
        found.setdefault(branch["properties"]["type"]["const"], []).append(validator)
    return found


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {**closed, "additionalProperties": False} if "properties" in schema and "required" in schema else closed
