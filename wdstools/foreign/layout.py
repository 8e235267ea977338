"""Finds the tars of a folder or bucket, their splits, and the files next to them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, NotFoundError, StoreError, UsageError, option
from wdstools.foreign.hazards import HazardCounts
from wdstools.foreign.split_names import allowed_name, gaps, splits_of_paths
from wdstools.formats.manifest import is_plain_path, is_split_name
from wdstools.formats.tar_names import encoding_of, tar_stem
from wdstools.stores.local import LocalStore, odd_files
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.stores.base import Store

SPLIT_SOURCES = ("auto", "path", "timm", "energon", "huggingface", "one")
_BRACES_RE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAX_SHARDS = 10_000_000
_BREAKS_DETECTION_RE = re.compile(r"\.tar\..+$|\.(json|jsonl|parquet|csv)$")
_MAX_SIDE_BYTES = 1 << 26


@dataclass(slots=True)
class Layout:
    """The tars of a place, each with its split, and the names and sizes of all other files there."""

    splits: dict[str, str]
    others: dict[str, int]
    hazards: HazardCounts = field(default_factory=HazardCounts)


def read_layout(store: Store, pattern: str, split_from: str, one: str | None) -> Layout:
    """List a place. ``pattern`` is "" for everything below, or a file name, which may contain ``{000..123}``.

    ``split_from`` is one of SPLIT_SOURCES; ``one`` is a single split for everything. Raises NotFoundError if there is no tar.
    """
    if split_from not in SPLIT_SOURCES:
        raise UsageError(
            "no such source of splits", where=option("split_from"), expected=", ".join(SPLIT_SOURCES), got=split_from
        )
    if one is not None and not is_split_name(one):
        raise UsageError(
            "not a valid split name", where=option("split"), expected="letters, digits, _ and -, without 'tar'", got=one
        )
    listed = {found.key: found.bytes for found in store.list()}
    wanted = _expand(pattern) if pattern else None
    tars = [key for key in listed if encoding_of(key) and (key in wanted if wanted is not None else _visible(key))]
    absent = sorted(wanted - listed.keys()) if wanted is not None else []
    if absent or not tars:
        raise NotFoundError(
            "a shard of the pattern is missing" if absent else "no tars here",
            code="shard-missing" if absent else "source-empty",
            where=f"{store.url}/{absent[0] if absent else pattern}",
        )
    odd = next((key for key in tars if not is_plain_path(key)), None)
    if odd is not None:
        raise UsageError("a shard has an invalid name: rename it", where=repr(odd))
    layout = Layout({}, {key: size for key, size in listed.items() if encoding_of(key) is None})
    given = _given_splits(store, listed, tars, split_from) if one is None else dict.fromkeys(tars, one)
    by_path = splits_of_paths(tar for tar in tars if not given.get(tar))
    for tar in tars:
        split = by_path.of.get(tar) or given[tar]
        layout.splits[tar] = split if is_split_name(split) else allowed_name(split)
        renamed = layout.splits[tar] != split
        layout.hazards.add("split-renamed", f"{tar}: {split} is called {layout.splits[tar]}", renamed)
    for split, name in by_path.renamed.items():
        layout.hazards.add("split-renamed", f"{split} is called {name}")
    for split, words in by_path.joined.items():
        layout.hazards.add("splits-joined", f"{' and '.join(words)} are both {split}", len(words))
    if wanted is None and isinstance(store, LocalStore):
        _note_odd(store.path, layout)
    for gap in gaps(tars):
        layout.hazards.add("shard-numbers", str(gap), gap.wanted - gap.found)
    _note_files(layout)
    return layout


def _note_odd(root: str, layout: Layout) -> None:
    """Record pipes and the like that are named like tars."""
    for key in odd_files(root):
        if encoding_of(key) and _visible(key):
            layout.hazards.add("not-a-file", key)


def _visible(key: str) -> bool:
    return not any(part.startswith(".") for part in key.split("/"))


def _expand(pattern: str) -> set[str]:
    match = _BRACES_RE.search(pattern)
    if match is None:
        return {pattern}
    first, last, width = int(match[1]), int(match[2]), len(match[1])
    if not 0 <= last - first < _MAX_SHARDS:
        raise UsageError("not a range of shards", where=pattern)
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return {name for number in range(first, last + 1) for name in _expand(f"{head}{number:0{width}d}{tail}")}


def _given_splits(store: Store, listed: Mapping[str, int], tars: list[str], split_from: str) -> dict[str, str]:
    """The split of each shard from a consumer's own file."""
    sources = {"timm": _timm_splits, "energon": _energon_splits, "huggingface": _card_splits}
    if split_from in ("path", "one"):
        return dict.fromkeys(tars, "train") if split_from == "one" else {}
    for name, read in sources.items():
        if split_from not in ("auto", name):
            continue
        try:
            found = read(store, listed, tars)
        except (StoreError, FormatError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            if split_from == name:
                raise UsageError(
                    f"cannot read splits from the files of {name}", where=store.url, got=str(error)
                ) from None
            continue
        if found:
            return found
    return {}


def _timm_splits(store: Store, listed: Mapping[str, int], tars: list[str]) -> dict[str, str]:
    del tars
    name = "_info.json" if "_info.json" in listed else "info.json"
    document: Any = json.loads(get_whole(store, name, _MAX_SIDE_BYTES))
    return {str(file): str(split) for split, info in document["splits"].items() for file in info["filenames"]}


def _energon_splits(store: Store, listed: Mapping[str, int], tars: list[str]) -> dict[str, str]:
    import yaml

    del listed
    document: Any = yaml.safe_load(get_whole(store, ".nv-meta/split.yaml", _MAX_SIDE_BYTES))
    found: dict[str, str] = {}
    for split, patterns in document["split_parts"].items():
        for pattern in patterns:
            names = [tar for tar in tars if tar == pattern or tar in _expand_or_none(pattern)]
            found |= dict.fromkeys(names, str(split))
    return found


def _expand_or_none(pattern: str) -> set[str]:
    return _expand(pattern) if _BRACES_RE.search(pattern) else set()


def _card_splits(store: Store, listed: Mapping[str, int], tars: list[str]) -> dict[str, str]:
    import fnmatch

    import yaml

    del listed
    text = get_whole(store, "README.md", _MAX_SIDE_BYTES).decode()
    if not text.startswith("---\n"):
        return {}
    files = yaml.safe_load(text.split("\n---", 1)[0])["configs"][0]["data_files"]
    found: dict[str, str] = {}
    for entry in files:
        paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
        found |= {tar: str(entry["split"]) for tar in tars if any(fnmatch.fnmatchcase(tar, path) for path in paths)}
    return found


def _note_files(layout: Layout) -> None:
    """Record side files that break other consumers, and tars whose side file is missing."""
    stems = {tar_stem(tar): tar for tar in layout.splits}
    folders = {tar.rpartition("/")[0] for tar in layout.splits}
    for name in layout.others:
        folder, _, base = name.rpartition("/")
        if folder in folders and _visible(name) and _BREAKS_DETECTION_RE.search(base) and not base.startswith("_"):
            layout.hazards.add("file-beside-shards", name)
    with_stats = {stem for stem in stems if f"{stem}_stats.json" in layout.others}
    if with_stats:
        for stem in sorted(stems.keys() - with_stats):
            layout.hazards.add("stats-missing", stems[stem])


def note_counts(store: Store, layout: Layout, samples: Mapping[str, int]) -> None:
    """Compare the numbers of samples with those in the files of img2dataset, open_clip, timm and energon."""
    said: dict[str, dict[str, int]] = {}
    for name in sorted(layout.others):
        folder, _, base = name.rpartition("/")
        if (
            base.endswith("_stats.json")
            or base in ("sizes.json", "_info.json", "info.json")
            or name == ".nv-meta/.info.json"
        ):
            try:
                said[name] = _counts_in(folder, base, json.loads(get_whole(store, name, _MAX_SIDE_BYTES)))
            except (StoreError, FormatError, ValueError, KeyError, TypeError, AttributeError):
                layout.hazards.add("count-differs", f"{name} cannot be read")
    for name, counts in said.items():
        for stem, count in counts.items():
            tar = stem if stem in samples else f"{stem}.tar"
            if tar in samples and samples[tar] != count:
                layout.hazards.add("count-differs", f"{name}: {count:,} samples in {tar}, which holds {samples[tar]:,}")


def _counts_in(folder: str, base: str, document: Any) -> dict[str, int]:
    prefix = f"{folder}/" if folder else ""
    if base.endswith("_stats.json"):
        return {prefix + base.removesuffix("_stats.json"): document["successes"]}
    if base == "sizes.json":
        return {prefix + name: count for name, count in document.items()}
    if base == ".info.json":
        return dict(document["shard_counts"])
    return {
        prefix + name: count
        for info in document["splits"].values()
        for name, count in zip(info["filenames"], info["shard_lengths"], strict=True)
    }
