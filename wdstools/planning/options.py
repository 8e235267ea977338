"""Packing options as the user gives them, turned into the one frozen value that decides a pack."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from wdstools.address import is_address
from wdstools.dataset import open_dataset
from wdstools.errors import UsageError, option
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES, loads
from wdstools.images.encoding import Encoding
from wdstools.images.rules import ImageRules
from wdstools.images.whole import KEEP
from wdstools.options.declare import settle
from wdstools.options.pack import PackChoices
from wdstools.planning.duplicates import DuplicateRule
from wdstools.planning.place import ShardLayout, refuse_names
from wdstools.planning.split_lines import Lines, digest_of_lines, read_lines
from wdstools.planning.splits import SplitRule, parse_ratios
from wdstools.stores.local import read_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.formats.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """Everything besides the source that decides the bytes of a pack; ``make_options`` makes it.

    The fields mean the same as in ``PackChoices``; ``images`` holds the rules that apply to each image.
    """

    layout: ShardLayout
    splits: SplitRule
    images: ImageRules
    only: str | None
    on_error: str
    name: str | None
    version: int | None
    authenticated_ranges: bool
    duplicates: DuplicateRule

    def document(self) -> dict[str, Any]:
        """The options as JSON values, for provenance and for the digest of a plan."""
        document = asdict(replace(self, splits=SplitRule(), layout=replace(self.layout, like=None)))
        document |= document.pop("images")
        if not self.duplicates.compares:
            del document["duplicates"]
        if self.images.trailing == KEEP:
            del document["trailing"]
        document["layout"]["like"] = self.layout.like.root if self.layout.like else None
        if self.layout.shard_bytes is None:
            del document["layout"]["shard_bytes"]
        document["splits"] = {
            "one": self.splits.one,
            "ratios": {name: str(value) for name, value in (self.splits.ratios or {}).items()},
            "lists": {name: digest_of_lines(lines) for name, lines in (self.splits.lists or {}).items()},
        }
        return document


def make_options(**choices: Unpack[PackChoices]) -> PackOptions:
    """The user's choices as the value that decides a pack; split lists and the ``like`` manifest are read here.

    Choices about the source's layout or about this run are not in it. Raises UsageError for invalid choices.
    """
    chosen = settle(PackChoices, choices)
    resize, convert, only, like = chosen["resize"], chosen["convert"], chosen["only"], chosen["like"]
    if convert is not None and only is not None:
        raise UsageError(f"{option('only')} and {option('convert')} cannot be combined")
    _refuse_idle(chosen)
    encoding = None
    if resize is not None or convert is not None:
        encoding = Encoding(
            image_type=convert or "jpg",
            side=resize,
            mode=chosen["mode"],
            quality=chosen["quality"],
            max_pixels=chosen["max_pixels"],
            only_others=resize is None,
        )
    manifest = _load_manifest(os.fspath(like)) if like else None
    splits = chosen["splits"]
    return PackOptions(
        layout=ShardLayout(
            chosen["shard_samples"],
            chosen["shards"],
            manifest,
            manifest.seed if manifest else chosen["seed"],
            chosen["shard_bytes"],
        ),
        splits=split_rule([splits] if isinstance(splits, str) else splits or []),
        images=ImageRules(
            check=chosen["check"], max_pixels=chosen["max_pixels"], encoding=encoding, trailing=chosen["trailing"]
        ),
        only=only,
        on_error=chosen["on_error"],
        name=chosen["name"],
        version=chosen["version"],
        authenticated_ranges=chosen["authenticated_ranges"],
        duplicates=DuplicateRule(
            chosen["duplicates"], chosen["level"], chosen["resplit"], tuple(chosen["exclude_duplicates_of"] or ())
        ),
    )


def _refuse_idle(chosen: PackChoices) -> None:
    """Raise UsageError for a choice that has no effect together with the others."""
    usual = settle(PackChoices, {})
    encodes = chosen["resize"] is not None or chosen["convert"] is not None
    idle = {
        "quality": (not encodes, f"{option('resize')} or {option('convert')}"),
        "mode": (chosen["resize"] is None, option("resize")),
    }
    for name, (does_nothing, needs) in idle.items():
        if does_nothing and chosen[name] != usual[name]:  # type: ignore[literal-required]
            raise UsageError(f"{option(name)} has no effect without {needs}", code="option-idle", where=option(name))
    if chosen["quality"] != usual["quality"] and chosen["convert"] == "png":
        raise UsageError(f"{option('quality')} has no effect for png", code="option-idle", where=option("quality"))
    if chosen["shard_bytes"] is not None and (chosen["shards"] is not None or chosen["like"] is not None):
        other = option("shards") if chosen["shards"] is not None else option("like")
        raise UsageError(
            f"{option('shard_bytes')} has no effect with {other}", code="option-idle", where=option("shard_bytes")
        )


#: Anything that may have been meant as a ratio.
_NUMBER_RE = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+(e[+-]?[0-9]+)?\s*%?", re.IGNORECASE)


def split_rule(given: Sequence[str]) -> SplitRule:
    """``["train=80,val=20"]``, ``["train"]`` or ``["train=train.txt", "val=val.txt"]`` as a rule."""
    if not given:
        return SplitRule()
    ratios = parse_ratios(",".join(given))
    names = ratios or [entry.partition("=")[0] for entry in given]
    if odd := [name for name in names if any("\ud800" <= letter <= "\udfff" for letter in name)]:
        raise UsageError("not UTF-8 text", where=option("splits"), got=ascii(odd[0]))
    if ratios is not None:
        return SplitRule(ratios=ratios)
    if len(given) == 1 and "=" not in given[0]:
        refuse_names(given, f"ratios are written {option('splits', 'train=80,val=20')}")
        return SplitRule(one=given[0])
    lists: dict[str, Lines] = {}
    for entry in given:
        name, equals, path = entry.partition("=")
        if not equals or not name:
            raise UsageError(
                "not a split", where=option("splits", entry), expected="NAME, NAME=FILE, or train=80,val=5,test=15"
            )
        if "," in path and "=" in path and not os.path.exists(path):
            raise UsageError(
                "not ratios", where=option("splits", entry), expected="numbers, like train=80,val=5,test=15", got=entry
            )
        if not path or (_NUMBER_RE.fullmatch(path) and not os.path.exists(path)):
            raise UsageError(
                "neither ratios nor a file",
                where=option("splits", entry),
                expected="ratios with a positive sum, like train=80,val=5,test=15, or the file of a list",
                got=entry,
            )
        if name in lists:
            raise UsageError("a split is given twice", where=option("splits", entry), got=name)
        lists[name] = read_lines(path)
    return SplitRule(lists=lists)


def _load_manifest(path: str) -> Manifest:
    if is_address(path) and not os.path.exists(path):
        return open_dataset(path).manifest
    if os.path.isdir(path):
        path = os.path.join(path, MANIFEST_PATH)
    return loads(read_file(path, MAX_MANIFEST_BYTES), where=path)
