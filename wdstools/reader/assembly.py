"""Puts a batch together from its chunks: damaged rows repeat an intact one, fields are stacked, captions are tokenized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError
from wdstools.reader.members import is_tensor, joined
from wdstools.reader.transforms import check_alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.reader.batch_maker import Chunk
    from wdstools.reader.recipe import Recipe
    from wdstools.results import Finding

#: What a row holds in a batch without an intact sample.
_EMPTY = {"captions": "", "labels": -1}


def assemble(
    chunks: Sequence[Chunk], place: NDArray[Any] | None, padding: int, recipe: Recipe
) -> tuple[dict[str, Any], list[tuple[int, Finding]]]:
    """The fields of a batch, and the damage found, each with the number of its feed.

    Damaged rows repeat the batch's first intact one, or are empty if there is none.
    """
    order = _order(chunks)
    keys = _ordered([key for chunk in chunks for key in chunk.keys], order)
    names = dict.fromkeys(name for chunk in chunks for name in chunk.columns)
    columns = {name: _ordered([value for chunk in chunks for value in _column(chunk, name)], order) for name in names}
    mask = np.ones(len(keys), np.bool_)
    mask[len(keys) - padding :] = False
    findings: dict[int, tuple[int, Finding]] = {}
    first = 0
    for chunk in chunks:
        for row, finding in chunk.findings:
            findings[first + row if chunk.places is None else chunk.places[row]] = (chunk.feed, finding)
        first += len(chunk.keys)
    damaged = tuple(keys[row] for row in findings if mask[row])
    whole = next((row for row in range(len(keys)) if row not in findings), None)
    for row in findings:
        mask[row] = False
        keys[row] = keys[row] if whole is None else keys[whole]
        if place is not None:
            place[row] = 0 if whole is None else place[whole]
        for name, values in columns.items():
            values[row] = _EMPTY.get(name) if whole is None and name != "sources" else values[whole or 0]
    fields: dict[str, Any] = {} if place is None else {"images": place}
    for name, values in columns.items():
        fields[name] = _field(name, values, recipe)
    fields |= {"keys": keys, "mask": mask, "damaged": damaged}
    if recipe.tokenizer is not None and not (findings and whole is None):
        fields = _tokenized(fields, recipe)
    return fields, [found for row, found in findings.items() if row < len(keys) - padding]


def _order(chunks: Sequence[Chunk]) -> list[int] | None:
    """For each row of the batch, which row of the chunks it is; None if they are in order."""
    if all(chunk.places is None for chunk in chunks):
        return None
    places = [place for chunk in chunks for place in chunk.places or ()]
    order = [0] * len(places)
    for number, place in enumerate(places):
        order[place] = number
    return order


def _ordered(values: list[Any], order: list[int] | None) -> list[Any]:
    return values if order is None else [values[number] for number in order]


def _column(chunk: Chunk, name: str) -> list[Any]:
    return chunk.columns.get(name) or [_EMPTY.get(name)] * len(chunk.keys)


def _field(name: str, values: list[Any], recipe: Recipe) -> Any:
    if name == "images":
        return _images(values, recipe)
    if name == "captions":
        return values
    if name == "labels" and any(type(value) is str for value in values):
        return ["" if value == -1 else str(value) for value in values]
    return joined(values)


def _images(values: list[Any], recipe: Recipe) -> Any:
    """Images that were not decoded in place: one array, or a list if ``fit`` or ``decode`` asks for one."""
    if recipe.fit == "list" or recipe.decode == "bytes":
        return values
    first = next((value for value in values if value is not None), None)
    if isinstance(first, np.ndarray) or is_tensor(first):
        for value in values:
            if isinstance(value, np.ndarray) or is_tensor(value):
                check_alike(value, first)
    return joined(values)


def _tokenized(fields: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The fields, with what the tokenizer makes of the captions added."""
    assert recipe.tokenizer is not None
    captions = fields.get("captions")
    if not isinstance(captions, list):
        raise UsageError("no captions to tokenize", where="tokenizer", expected="members with captions")
    result = recipe.tokenizer(list(captions))
    found = dict(result) if isinstance(result, Mapping) else {"tokens": result}
    for name, value in found.items():
        rows = len(value) if hasattr(value, "__len__") else -1
        if rows != len(captions) or name in fields:
            raise UsageError(
                "the tokenizer did not return one row per caption"
                if rows != len(captions)
                else "the field already exists",
                code="tokenizer-result",
                where="tokenizer",
                expected=f"{len(captions)} rows" if rows != len(captions) else "another name",
                got=f"{rows} in {name}" if rows >= 0 else f"{type(value).__name__} in {name}",
                hint="it is called with a list of texts; return an array, a tensor, a list or a dictionary of these",
            )
        found[name] = joined(value) if isinstance(value, list) else value
    # tokens come right after the captions, before the keys
    return {**{k: v for k, v in fields.items() if k not in ("keys", "mask", "damaged")}, **found, **fields}
