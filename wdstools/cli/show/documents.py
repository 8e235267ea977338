"""Answers that are documents: the bytes of a member, and schemas."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdstools.cli.lines import MemberLine, MembersSummary, SchemaLine, SchemasSummary
    from wdstools.cli.output import Output


def member(output: Output, name: str, data: bytes) -> None:
    """The bytes of a member as they are; in JSON as text if they are UTF-8, else as base64."""
    if not output.json:
        output.payload(data)
        return
    line: MemberLine = {"name": name, "bytes": len(data)}
    try:
        line["text"] = data.decode("utf-8")
    except UnicodeDecodeError:
        line["base64"] = base64.b64encode(data).decode("ascii")
    output.record("member", line)
    summary: MembersSummary = {"members": 1}
    output.summary(summary, exit_code=0, ok=True)


def schemas(output: Output, name: str | None) -> None:
    """The names of all schemas, or one of them."""
    from wdstools.cli.schema import read_schema, schema_names

    names = schema_names()
    if name is not None:
        text = read_schema(name)
        output.line(text.rstrip("\n"))
        names = (name,)
    for one in names:
        if name is None:
            output.line(one)
        if output.json:
            line: SchemaLine = {"command": one, "document": json.loads(read_schema(one))}
            output.record("schema", line)
    if name is None:
        output.hint("one of them: wdstools schema verify")
    summary: SchemasSummary = {"schemas": len(names)}
    output.summary(summary, exit_code=0, ok=True)
