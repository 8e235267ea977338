"""The options that a dataset was packed with, from its provenance.

It may come from anywhere, so the type of everything in it is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast

from wdstools.errors import FormatError, WdsError
from wdstools.formats.manifest import PROVENANCE_PATH
from wdstools.images.check import DEFAULT_MAX_PIXELS
from wdstools.images.encoding import Encoding
from wdstools.images.rules import ImageRules
from wdstools.images.whole import CUT, KEEP, SKIP
from wdstools.planning.samples import SPLIT_IN_KEY
from wdstools.planning.splits import SplitRule, weight_of
from wdstools.sources.recipe import recipe_names
from wdstools.sources.shards import layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from wdstools.options.pack import LayoutChoices

#: Options for reading a source that provenance records.
_KEPT = (
    "captions", "several_captions", "path_column", "caption_column", "label_column", "split_column", "key_column",
    "name_encoding", "follow_links",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MadeWith:
    """How a dataset was made: ``options`` as ``PackOptions.document`` wrote them, the ``recipe``, and the ``template`` of paths."""

    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def told_by(cls, provenance: Mapping[str, Any]) -> MadeWith:
        """What provenance says about it; empty if it says nothing."""
        options, recipe, template = (provenance.get(name) for name in ("options", "recipe", "template"))
        return cls(
            options if isinstance(options, dict) else {},
            recipe if isinstance(recipe, str) else "",
            template if isinstance(template, dict) else {},
        )

    @property
    def known(self) -> bool:
        """Whether provenance has the options."""
        return bool(self.options)

    def chosen(self, name: str, words: Sequence[str], usual: str) -> str:
        """An option with one of the values ``words``, or the default ``usual``."""
        value = self.options.get(name)
        return value if isinstance(value, str) and value in words else usual

    def number(self, name: str, usual: int) -> int:
        """An option with a positive integer value, or the default ``usual``."""
        value = self.options.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else usual

    def number_or_none(self, name: str) -> int | None:
        """An option with a positive integer value, or None."""
        return self.number(name, 0) or None

    def images(self, *, check: str = "header", max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageRules:
        """The rules for its images; ``check`` and ``max_pixels`` are the defaults. Raises as ``encoding`` does."""
        return ImageRules(
            check=self.chosen("check", ("header", "decode"), check),
            max_pixels=self.number("max_pixels", max_pixels),
            encoding=self.encoding,
            trailing=self.chosen("trailing", (KEEP, CUT, SKIP), KEEP),
        )

    @property
    def image_template(self) -> str:
        """The template of image paths below the source's root; paths that follow from it and the key are not indexed."""
        base, image = (str(self.template.get(name) or "") for name in ("base", "image"))
        return f"{base}/{image}" if base and image else image

    @property
    def split_in_key(self) -> bool:
        """Whether keys begin with their split."""
        return self.template.get("key") == SPLIT_IN_KEY

    @property
    def kept(self) -> dict[str, Any]:
        """The options for reading the source that differ from the defaults."""
        return {name[2:]: value for name, value in self.template.items() if name[:2] == "--" and name[2:] in _KEPT}

    def layout(self, members: Sequence[str]) -> LayoutChoices:
        """How the source was read; ``members`` are those other than the image."""
        layout = self.kept
        if self.recipe in recipe_names():
            layout["recipe"] = self.recipe
        elif self.recipe == "templates":
            layout |= {"image": self.template.get("image"), "caption": self.template.get("caption") or None}
        elif self.recipe == "shards":
            return layout_of(self.template, members)
        return cast("LayoutChoices", layout)

    @property
    def encoding(self) -> Encoding | None:
        """How images were re-encoded, if at all; raises FormatError (``provenance-damaged``) if that cannot be read."""
        said = self.options.get("encoding")
        if said is None:
            return None
        usual = Encoding()
        names = [one.name for one in fields(Encoding)]
        sound = isinstance(said, dict) and set(said) <= set(names)
        sound = sound and all(
            type(said[name]) is type(getattr(usual, name)) or (name == "side" and type(said[name]) in (int, type(None)))
            for name in said
        )
        try:
            if sound:
                return Encoding(**said)
        except WdsError:
            pass
        raise FormatError(
            "provenance does not say how images were re-encoded",
            code="provenance-damaged",
            where=PROVENANCE_PATH,
            got=repr(said)[:200],
            hint="get the file again from another copy of the dataset",
        )

    @property
    def splits(self) -> SplitRule:
        """The rule by which the dataset was split; of split lists only the digests are recorded, see ``by_lists``."""
        rule = self.options.get("splits")
        one, ratios = (rule.get("one"), rule.get("ratios")) if isinstance(rule, dict) else (None, None)
        weights: dict[str, Fraction] = {}
        for name, value in (ratios if isinstance(ratios, dict) else {}).items():
            try:
                weights[name] = weight_of(str(value))
            except ValueError:
                return SplitRule()
        if weights and not sum(weights.values()):
            return SplitRule()
        return SplitRule(one=one if isinstance(one, str) else None, ratios=weights or None)

    @property
    def by_lists(self) -> bool:
        """Whether split lists decided the split of each sample."""
        rule = self.options.get("splits")
        return isinstance(rule, dict) and bool(rule.get("lists"))
