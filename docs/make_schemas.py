"""Writes wdstools/cli/schemas/*.json, the JSON Schema of each command's ``--json``, from the types of what it prints.

Run by ``make docs``. A new command needs its entry in LINES: a test validates what every command prints.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

from wdstools.address import Url
from wdstools.cli import lines
from wdstools.cli.output import JSON_SCHEMA
from wdstools.cli.program import NAME
from wdstools.dedup.results import DuplicateGroup
from wdstools.landing.staging import FinishResult
from wdstools.ops.adopt import AdoptResult
from wdstools.ops.append import AppendResult
from wdstools.ops.bench import BenchResult
from wdstools.ops.columns import ColumnsInfo, ColumnsResult
from wdstools.ops.demo.run import DemoResult
from wdstools.ops.diff import Difference
from wdstools.ops.doctor import Diagnosis
from wdstools.ops.duplicates.against import SharedImage
from wdstools.ops.emit import EmitResult
from wdstools.ops.extract import ExtractResult
from wdstools.ops.ls import SampleInfo, ShardInfo
from wdstools.ops.mirror import MirrorResult
from wdstools.ops.pack import PackResult
from wdstools.ops.pack_plan import PackPreview
from wdstools.ops.pull import PullResult
from wdstools.ops.remove import RemoveResult
from wdstools.ops.repair import RepairResult
from wdstools.ops.sign import SignResult
from wdstools.ops.stats import StatsResult
from wdstools.plan import Step
from wdstools.results import Finding, Hazard, Proof, Proved, Skip
from wdstools.stores.abilities import Weakness

FOLDER = Path(__file__).parents[1] / "wdstools" / "cli" / "schemas"
JSON = dict[str, Any]

_PLANNED: dict[str, tuple[Any, ...]] = {"step": (Step,), "unsolved": (Finding,)}
_CHANGE = {**_PLANNED, "finished": (FinishResult,)}
_MISSING_KEYS = {"missing_keys": {"type": "array", "items": {"type": "string"}}}
#: What each command prints: the types of its lines by ``type``, of the last line under "summary".
LINES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "scan": {"skip": (Skip,), "summary": (lines.ScanSummary,)},
    "pack": {"skip": (Skip,), "summary": (PackResult, PackPreview)},
    "append": {**_CHANGE, "skip": (Skip,), "summary": (AppendResult, lines.PlanSummary)},
    "adopt": {"hazard": (Hazard,), "summary": (AdoptResult,)},
    "demo": {"summary": (DemoResult,)},
    "info": {"summary": (lines.InfoSummary,)},
    "ls": {
        "shard": (ShardInfo,),
        "sample": (SampleInfo, lines.Key),
        "meant": (lines.Meant,),
        "summary": (lines.ShardsSummary, lines.SamplesSummary),
    },
    "head": {"sample": (SampleInfo,), "meant": (lines.Meant,), "summary": (lines.SamplesSummary,)},
    "cat": {"member": (lines.MemberLine,), "summary": (lines.MembersSummary,)},
    "stats": {"meant": (lines.Meant,), "summary": (StatsResult,)},
    "view": {
        "page": (lines.Page,),
        "meant": (lines.Meant,),
        "missing": (lines.WithoutPicture,),
        "summary": (lines.SheetSummary, lines.SamplesSummary),
    },
    "schema": {"schema": (lines.SchemaLine,), "summary": (lines.SchemasSummary,)},
    "verify": {"finding": (Finding,), "summary": (lines.VerifySummary,)},
    "diff": {"difference": (Difference,), "summary": (lines.DiffSummary,)},
    "duplicates": {
        "group": (DuplicateGroup,),
        "shared": (SharedImage,),
        "summary": (lines.DuplicatesSummary, lines.SharedSummary, lines.HashesSummary),
    },
    "repair": {**_CHANGE, "summary": (RepairResult, lines.PlanSummary)},
    "remove": {
        **_CHANGE,
        "meant": (lines.Meant,),
        "absent": (lines.Absent,),
        "summary": (RemoveResult, lines.PlanSummary),
    },
    "columns": {
        **_CHANGE,
        "columns": (ColumnsInfo,),
        "summary": (ColumnsResult, lines.ColumnsSummary, lines.PlanSummary),
    },
    "mirror": {**_PLANNED, "comparison": (lines.Comparison,), "summary": (MirrorResult, lines.PlanSummary)},
    "pull": {
        **_PLANNED,
        "meant": (lines.Meant,),
        "transfer": (lines.Transfer,),
        "summary": (PullResult, lines.PlanSummary),
    },
    "extract": {"meant": (lines.Meant,), "summary": (ExtractResult,)},
    "sign": {"summary": (SignResult,)},
    "emit": {**_PLANNED, "summary": (EmitResult, lines.PlanSummary)},
    "doctor": {"diagnosis": (Diagnosis,), "summary": (lines.DoctorSummary,)},
    "bench": {"summary": (BenchResult,)},
}
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


class Schema:
    """The schema of one command's lines; types that occur in them are definitions."""

    def __init__(self) -> None:
        self.definitions: JSON = {}

    def lines(self, name: str, kinds: Mapping[str, tuple[Any, ...]]) -> JSON:
        """The document."""
        found = [self._line(kind, of) for kind, several in kinds.items() for of in several]
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:wdstools:json:{JSON_SCHEMA}:{name}",
            "title": f"{NAME} {name} --json",
            "description": "A line of standard output; the last is the summary. An error is one line on standard error.",
            "version": JSON_SCHEMA,
            "anyOf": [*found, _error()],
            "$defs": dict(sorted(self.definitions.items())),
        }

    def _line(self, kind: str, of: Any) -> JSON:
        made = dict(self._record(of))
        made["properties"] = {"type": {"const": kind}, **made["properties"]}
        made["required"] = ["type", *made["required"]]
        if kind == "summary":
            ends = {"schema": {"const": JSON_SCHEMA}, "ok": {"type": "boolean"}, "exit_code": {"type": "integer"}}
            named = _MISSING_KEYS if of is StatsResult else {}
            weaker = {"weaker": {"type": "array", "items": self._value(Weakness)}}
            made["properties"] = {**made["properties"], **named, **weaker, **ends}
            made["required"] = [*made["required"], *ends]
        return made

    def _record(self, kind: Any) -> JSON:
        """An object of named values: a dataclass, or a TypedDict."""
        hints = get_type_hints(kind, localns=_names(kind), include_extras=True)
        properties, required = {}, []
        for name, hint in hints.items():
            optional = get_origin(hint) is NotRequired
            inner = get_args(hint)[0] if get_origin(hint) in (NotRequired, Required) else hint
            parts = _parts(inner)
            if Url in parts:
                continue
            if dataclasses.is_dataclass(kind) and types.NoneType in parts:  # None is left out
                parts, optional = tuple(part for part in parts if part is not types.NoneType), True
            properties[name] = self._any(parts)
            required += [] if optional else [name]
        if dataclasses.is_dataclass(kind) and _tells_proof(kind, hints):
            proof = self._record(Proof)
            properties.update(proof["properties"])
            required += [name for name in proof["required"] if name not in required]
        return {"type": "object", "description": _first_paragraph(kind), "properties": properties, "required": required}

    def _any(self, parts: tuple[Any, ...]) -> JSON:
        found = [self._value(part) for part in parts]
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _value(self, kind: Any) -> JSON:
        if get_origin(kind) in (Union, types.UnionType):
            return self._any(get_args(kind))
        if kind in _PLAIN:
            return {"type": _PLAIN[kind]}
        if kind is Any:
            return {}
        origin, inner = get_origin(kind) or kind, get_args(kind)
        if origin is Literal:
            return {"enum": list(inner)}
        if origin is tuple and inner[-1] is not ...:
            return {"type": "array", "prefixItems": [self._value(one) for one in inner], "minItems": len(inner)}
        if isinstance(origin, type) and issubclass(origin, Enum):
            return {"enum": [one.value for one in origin]}
        if isinstance(origin, type) and issubclass(origin, Mapping) and not is_typeddict(origin):
            return {"type": "object", "additionalProperties": self._value(inner[1])}
        if dataclasses.is_dataclass(origin) or is_typeddict(origin):
            if origin.__name__ not in self.definitions:
                self.definitions[origin.__name__] = {}
                self.definitions[origin.__name__] = self._record(origin)
            return {"$ref": f"#/$defs/{origin.__name__}"}
        return {"type": "array", "items": self._value(inner[0])}


def _tells_proof(kind: Any, hints: Mapping[str, Any]) -> bool:
    return hints.get("proved") is Proved or isinstance(inspect.getattr_static(kind, "proved", None), property)


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _first_paragraph(kind: Any) -> str:
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def _names(kind: Any) -> dict[str, Any]:
    """What a module imports for type checkers alone."""
    module = sys.modules[kind.__module__]
    found = {**vars(typing), **vars(module)}
    for block in ast.parse(inspect.getsource(module)).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    home = importlib.import_module(node.module)
                    found.update((name.asname or name.name, getattr(home, name.name)) for name in node.names)
    return found


def _error() -> JSON:
    texts = ("code", "message", "where", "expected", "got", "hint", "traceback")
    return {
        "type": "object",
        "description": "An error. Its code is stable; the message is for people.",
        "properties": {
            "type": {"const": "error"},
            "schema": {"const": JSON_SCHEMA},
            **{name: {"type": "string"} for name in texts},
            "exit_code": {"type": "integer"},
        },
        "required": ["type", "schema", "code", "message", "exit_code"],
    }


def render() -> dict[str, str]:
    """Each schema's text, by its name."""
    found = {name: Schema().lines(name, kinds) for name, kinds in LINES.items()}
    found["error"] = Schema().lines("error", {})
    return {name: json.dumps(document, indent=1, ensure_ascii=True) + "\n" for name, document in found.items()}


def main() -> None:
    """Write all, and delete those of commands that no longer exist."""
    FOLDER.mkdir(exist_ok=True)
    made = render()
    for path in FOLDER.glob("*.json"):
        if path.stem not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
