"""What a shell can complete: choices, and names from a dataset. Nothing here fails, waits or asks a server."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

from wdstools.python_text import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import typer

    from wdstools.dataset import Dataset

    Complete = Callable[[typer.Context, str], list[str]]

#: What can be completed apart from choices: ``Option.complete`` names one.
KINDS = (
    "recipe",
    "split",
    "split-or-shard",
    "member",
    "consumers",
    "readers",
    "peers",
    "schema",
    "columns",
    "fields",
    "where",
)
#: How many keys are offered, and how many are searched: the user is waiting.
_OFFERED, _LOOKED_AT = 100, 200_000
#: A shell puts a word into the command line as it is: the maker of a dataset must not be able to write commands there.
_PLAIN_RE = re.compile(r"[\w./%][\w./%+,:@=^-]*")
#: The same for a condition, which the user began inside double quotes: a shell runs none of these characters there.
_CONDITION_RE = re.compile(r"(?:[\w./%+,:@=^<>()' -]|!=|\\(?:'|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}))+")
#: The same for quoted text in a condition; other characters become Python escapes, which no shell interprets.
_TEXT_RE = re.compile(r"[\w./%+,:@=^<>() -]")
#: What can be raised for a damaged dataset, or for something else; pyarrow's errors are ValueErrors too.
_SILENT = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError)


def completer(choices: Sequence[str] = (), kind: str = "") -> Complete | None:
    """The completer of a value: of fixed choices, or of ``kind``; None if the shell is to complete files."""
    if not choices and not kind:
        return None

    # typer reads these annotations, so they are values here
    def complete(ctx, incomplete):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        from wdstools.errors import WdsError

        try:
            plain = _PLAIN_RE if kind != "where" else _CONDITION_RE
            found = choices or filter(plain.fullmatch, _KNOWN[kind](ctx, incomplete))
            return list(islice((word for word in found if word.startswith(incomplete)), _OFFERED))
        except (WdsError, *_SILENT):
            return []

    return complete


def _recipes(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    del ctx
    from glob import escape, glob

    from wdstools.sources.recipe import recipe_names

    return (*recipe_names(), *glob(f"{escape(incomplete)}*.toml"))


def _splits(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    del incomplete
    dataset = _dataset(ctx)
    return dataset.manifest.splits if dataset else ()


def _splits_and_shards(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    del incomplete
    dataset = _dataset(ctx)
    return (*dataset.manifest.splits, *(entry.path for _, entry in dataset.manifest.shards)) if dataset else ()


def _members(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Keys with this beginning; for a complete key, its members."""
    dataset = _dataset(ctx)
    if dataset is None:
        return
    from wdstools.formats.arrow import to_list

    looked_at = 0
    for _, entry in dataset.manifest.shards:
        looked_at += entry.samples
        if looked_at > _LOOKED_AT:
            return
        for key in to_list(dataset.index(entry).column("key")):
            if incomplete.startswith(f"{key}.") or incomplete == key:
                yield from (f"{key}.{extension}" for extension in dataset.manifest.members)
            elif key.startswith(incomplete):
                yield key


def _columns(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    del incomplete
    from wdstools.columns.sets import column_sets

    dataset = _dataset(ctx)
    return [found.name for found in column_sets(dataset)] if dataset else ()


def _fields(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Added columns, appended to those already typed."""
    from wdstools.columns.sets import fields_of

    dataset = _dataset(ctx)
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in fields_of(dataset)] if dataset else ()


def _conditions(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """The condition, continued with a label after an opening quote, or else with the name of a column."""
    dataset = _dataset(ctx)
    if dataset is None:
        return
    if (start := _open_text(incomplete)) is not None:
        begun = literal(f"'{incomplete[start:]}'")
        labels = (label for label in dataset.manifest.labels if label.startswith(begun))
        yield from (f"{incomplete}{_as_text(label[len(begun) :])}'" for label in labels)
        return
    from wdstools.columns.sets import fields_of
    from wdstools.reader.operand import COLUMNS

    word = re.search(r"\w*$", incomplete)
    before = incomplete[: word.start()] if word else incomplete
    yield from (before + name for name in (*COLUMNS, *fields_of(dataset)))


def _open_text(condition: str) -> int | None:
    """Where the unfinished quoted text of a condition begins; None if there is none."""
    start, is_escaped = None, False
    for at, character in enumerate(condition):
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character == "'":
            start = at + 1 if start is None else None
    return start


def _as_text(text: str) -> str:
    def escaped(character: str) -> str:
        code = ord(character)
        return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

    return "".join(character if _TEXT_RE.fullmatch(character) else escaped(character) for character in text)


def _dataset(ctx: typer.Context) -> Dataset | None:
    """The dataset of the command line, if it is on this machine: no server is asked for a completion."""
    # if the previous word is a flag that waits for its value, words without a flag are not assigned to arguments
    named = (ctx.params.get("dataset"), ctx.params.get("path"), *ctx.args)
    given: Any = next((name for name in named if name), None)
    places = (given, ctx.params.get("at"))
    if given is None or any("://" in str(place) for place in places if place):
        return None
    from wdstools.dataset import open_dataset

    return open_dataset(given, at=ctx.params.get("at"))


def _in_a_list(words: Callable[[], Sequence[str]]) -> Callable[[typer.Context, str], Iterator[str]]:
    """Complete the last name of a comma-separated list."""

    def complete(ctx: typer.Context, incomplete: str) -> Iterator[str]:
        del ctx
        before, comma, _ = incomplete.rpartition(",")
        taken = before.split(",")
        return (f"{before}{comma}{word}" for word in words() if word not in taken)

    return complete


def _consumers() -> Sequence[str]:
    from wdstools.options.move import Consumer

    return get_args(Consumer)


def _readers() -> Sequence[str]:
    from wdstools.options.move import Reader

    return get_args(Reader)


def _peers() -> Sequence[str]:
    from wdstools.options.check import Peer

    return get_args(Peer)


def _schemas(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    del ctx, incomplete
    from wdstools.cli.schema import schema_names

    return schema_names()


_KNOWN: dict[str, Callable[[typer.Context, str], Iterable[str]]] = {
    "recipe": _recipes,
    "split": _splits,
    "split-or-shard": _splits_and_shards,
    "member": _members,
    "consumers": _in_a_list(_consumers),
    "readers": _in_a_list(_readers),
    "peers": _in_a_list(_peers),
    "schema": _schemas,
    "columns": _columns,
    "fields": _fields,
    "where": _conditions,
}
