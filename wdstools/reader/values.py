"""Caption, label and other members of one sample as values: what a batch has besides images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.reader.members import UndecodedError, decoder_of
from wdstools.reader.payloads import DamagedSampleError, Payloads
from wdstools.reader.transforms import Function
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from wdstools.reader.recipe import MemberPlan, Recipe
    from wdstools.reader.rows import Extents

#: The most digits of a label that is a number; anything longer is a name.
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Row:
    """One sample's members, and where they lie, for a finding if one of them is damaged."""

    payloads: Payloads
    extents: Extents
    number: int
    members: Mapping[str, memoryview]

    @classmethod
    def taken(cls, payloads: Payloads, extents: Extents, number: int) -> Row:
        """A row, its bytes checked. Raises DamagedSampleError."""
        return cls(payloads, extents, number, payloads.take(extents, number))

    def decoded(self, name: str, decode: Callable[[bytes], Any]) -> Any:
        """A member, decoded. Raises DamagedSampleError if it is not what its extension says."""
        try:
            return decode(bytes(self.members[name]))
        except UndecodedError as error:
            what = (error.expected, error.got)
            finding = self.payloads.finding(
                self.extents, self.number, name, "payload", f"a member is not {error.expected}", what
            )
            raise DamagedSampleError(replace(finding, cause="member-not-text")) from None

    def image(self, names: Sequence[str]) -> memoryview:
        """The first of these members that the sample has. Raises DamagedSampleError if it has none."""
        for extension in names:
            if extension in self.members:
                return self.members[extension]
        path = self.payloads.table.entries[self.extents.shard[self.number]].path
        raise DamagedSampleError(
            Finding("missing", path, "a sample has no image", key=self.extents.keys[self.number], cause="image-missing")
        )


class Values:
    """Makes the values of rows by a recipe. ``found`` are the labels in the manifest."""

    def __init__(self, recipe: Recipe, plan: MemberPlan, found: Sequence[str]) -> None:
        self._recipe = recipe
        self._plan = plan
        self._numbers = {name: number for number, name in enumerate(found if recipe.labels is None else recipe.labels)}
        self._text = decoder_of("txt", {})
        self._json = decoder_of("json", {})

    @property
    def names(self) -> list[str]:
        """The fields that a row has. Unless members were named, images always come with captions and labels:
        empty ones if none were packed.
        """  # noqa: D205
        plan = self._plan
        always = self._recipe.members is None and bool(plan.images)
        return [
            *(["captions"] if plan.captions or plan.several_captions or always else []),
            *(["labels"] if plan.labels or always else []),
            *plan.extra,
        ]

    def of(self, row: Row, random: Callable[[], np.random.Generator]) -> dict[str, Any]:
        """The values of a row; None for a member that it does not have. Raises DamagedSampleError."""
        plan, decoders = self._plan, self._recipe.decoders
        values: dict[str, Any] = {"captions": "", "labels": -1}
        for name in plan.captions:
            if name in row.members:
                values["captions"] = row.decoded(name, decoders.get(name, self._text))
                break
        if plan.several_captions:
            values["captions"] = self._chosen(row, values["captions"], random())
        if plan.labels and "cls" in row.members:
            values["labels"] = self._renumbered(row.decoded("cls", decoders.get("cls", self._label)))
        for name, decode in plan.extra.items():
            if name in row.members:
                values[name] = row.decoded(name, decode)
        return values

    def _renumbered(self, label: Any) -> Any:
        numbers = self._recipe.renumbered
        return label if numbers is None or type(label) is not int or not 0 <= label < len(numbers) else numbers[label]

    def _label(self, data: bytes) -> int | str:
        """A number as it is; a name as its place in the list of labels, or as itself if there is no list."""
        text = self._text(data)
        if self._recipe.labels is not None and text in self._numbers:
            return self._numbers[text]
        if len(text.strip()) <= _MAX_DIGITS:
            try:
                return int(text)
            except ValueError:
                pass
        if text in self._numbers:
            return self._numbers[text]
        if self._numbers:
            raise UsageError(
                "a label is not in the list of labels",
                code="label-unknown",
                where="labels",
                expected=", ".join(list(self._numbers)[:20]),
                got=text[:100],
            )
        return str(text)

    def _chosen(self, row: Row, caption: str, random: np.random.Generator) -> str:
        """One of the list ``captions`` in ``json``; without such a list, ``caption``."""
        document = row.decoded("json", self._json) if "json" in row.members else None
        found = document.get("captions") if isinstance(document, dict) else None
        captions = [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
        captions = captions or ([caption] if caption else [])
        if isinstance(self._recipe.caption, Function):
            text = self._recipe.caption(captions, random)
            if not isinstance(text, str):
                raise UsageError(
                    "the function did not return a caption", where="caption", expected="a text", got=repr(text)[:100]
                )
            return text
        return captions[int(random.integers(len(captions)))] if captions else ""
