"""Packing options as people give them, turned into the one frozen value that decides a pack."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, loads
from wdstools.images.check import DEFAULT_MAX_PIXELS, STORABLE_TYPES
from wdstools.images.resize import Encoding
from wdstools.planning.duplicates import DuplicateRule
from wdstools.planning.place import DEFAULT_SHARD_SAMPLES, ShardLayout
from wdstools.planning.splits import SplitRule, parse_ratios
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.formats.manifest import Manifest


@dataclass(frozen=True, slots=True)
class PackOptions:
    """Everything that decides the bytes of a pack, beside the source.

    ``check`` is ``header`` or ``decode``; ``encoding`` re-encodes images; ``only`` leaves out images of other types;
    ``on_error`` is ``skip`` (count and go on) or ``fail`` (stop at the first).
    """

    layout: ShardLayout = field(default_factory=ShardLayout)
    splits: SplitRule = field(default_factory=SplitRule)
    check: str = "decode"
    max_pixels: int = DEFAULT_MAX_PIXELS
    encoding: Encoding | None = None
    only: str | None = None
    on_error: str = "skip"
    name: str | None = None
    version: int | None = None
    authenticated_ranges: bool = False
    duplicates: DuplicateRule = field(default_factory=DuplicateRule)

    def __post_init__(self) -> None:
        if self.check not in ("header", "decode"):
            raise UsageError("no such check", where="--check", expected="header or decode", got=self.check)
        if self.on_error not in ("skip", "fail"):
            raise UsageError("no such choice", where="--on-error", expected="skip or fail", got=self.on_error)
        if self.only is not None and self.only not in STORABLE_TYPES:
            raise UsageError("no such image type", where="--only", expected=", ".join(STORABLE_TYPES), got=self.only)
        if self.only is not None and self.encoding is not None and self.encoding.only_others:
            raise UsageError("--only and --convert exclude each other")
        if self.version is not None and not 0 <= self.version < 2**53:
            raise UsageError(
                "version out of range", where="--version", expected="0 to 2**53 - 1", got=str(self.version)
            )

    def document(self) -> dict[str, Any]:
        """The options as JSON values, for provenance and for the digest of a plan."""
        document = asdict(replace(self, splits=SplitRule(), layout=replace(self.layout, like=None)))
        if not self.duplicates.compares:
            del document["duplicates"]
        document["layout"]["like"] = self.layout.like.root if self.layout.like else None
        document["splits"] = {
            "one": self.splits.one,
            "ratios": {name: str(value) for name, value in (self.splits.ratios or {}).items()},
            "lists": {name: sha256_hex("\n".join(lines).encode()) for name, lines in (self.splits.lists or {}).items()},
        }
        return document


def make_options(
    *,
    splits: Sequence[str] | str | None = None,
    resize: int | None = None,
    mode: str = "stretch",
    quality: int = 75,
    convert: str | None = None,
    only: str | None = None,
    check: str = "decode",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    shard_samples: int = DEFAULT_SHARD_SAMPLES,
    shards: int | None = None,
    like: str | None = None,
    seed: int = 0,
    on_error: str = "skip",
    name: str | None = None,
    version: int | None = None,
    authenticated_ranges: bool = False,
    duplicates: str = "keep",
    level: str = "exact",
    resplit: bool = False,
) -> PackOptions:
    """Options of a pack; list files and the ``like`` manifest are read here. Raises UsageError for what cannot be."""
    if max_pixels < 1:
        raise UsageError("the limit of pixels must be positive", where="--max-pixels", got=str(max_pixels))
    if resize is not None and only is not None and convert is not None:
        raise UsageError("--only and --convert exclude each other")
    encoding = None
    if resize is not None or convert is not None:
        encoding = Encoding(
            image_type=convert or "jpg",
            side=resize,
            mode=mode,
            quality=quality,
            max_pixels=max_pixels,
            only_others=resize is None,
        )
    manifest = _load_manifest(like) if like else None
    return PackOptions(
        layout=ShardLayout(shard_samples, shards, manifest, manifest.seed if manifest else seed),
        splits=split_rule([splits] if isinstance(splits, str) else splits or []),
        check=check,
        max_pixels=max_pixels,
        encoding=encoding,
        only=only,
        on_error=on_error,
        name=name,
        version=version,
        authenticated_ranges=authenticated_ranges,
        duplicates=DuplicateRule(duplicates, level, resplit),
    )


def split_rule(given: Sequence[str]) -> SplitRule:
    """``["train=80,val=20"]``, ``["train"]`` or ``["train=train.txt", "val=val.txt"]`` as a rule."""
    if not given:
        return SplitRule()
    ratios = parse_ratios(",".join(given))
    if ratios is not None:
        return SplitRule(ratios=ratios)
    if len(given) == 1 and "=" not in given[0]:
        return SplitRule(one=given[0])
    lists: dict[str, list[str]] = {}
    for entry in given:
        name, equals, path = entry.partition("=")
        if not equals or not name:
            raise UsageError(
                "not a split", where=f"--split {entry}", expected="NAME, NAME=FILE, or train=80,val=5,test=15"
            )
        if "," in path and "=" in path and not os.path.exists(path):
            raise UsageError(
                "not ratios", where=f"--split {entry}", expected="numbers, as train=80,val=5,test=15", got=entry
            )
        lists[name] = _lines(path)
    return SplitRule(lists=lists)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except UnicodeDecodeError as error:
        raise UsageError("a split list is not UTF-8 text", where=path) from error
    except OSError as error:
        raise storage_error(error, path) from error


def _load_manifest(path: str) -> Manifest:
    if os.path.isdir(path):
        path = os.path.join(path, MANIFEST_PATH)
    try:
        with open(path, "rb") as file:
            return loads(file.read(), where=path)
    except OSError as error:
        raise storage_error(error, path) from error
