"""The one rule for splits: which word names which split, and to which split a tar belongs by its path. Pure functions of names.

Laws: the split of a canonical path (``SPLIT/SPLIT-NNNNNN.tar``) is the one in it; the order of the paths does not matter; if
one path names a split by a known word, a name without such a word is a split of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.formats.manifest import is_split_name
from wdstools.formats.tar_names import tar_stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The default split of samples.
DEFAULT_SPLIT = "train"
#: Words that name a split, and the split's name. Those for evaluation stay separate: a dataset may have several of them.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "val": "val",
    "valid": "valid",
    "validation": "validation",
    "dev": "dev",
    "eval": "eval",
    "evaluation": "evaluation",
    "holdout": "holdout",
    "heldout": "heldout",
    "trainval": "trainval",
    "minitrain": "minitrain",
    "minival": "minival",
}
#: Splits that combine two others; the parts may also have lists or tables of their own.
UNIONS = {"trainval": ("train", "val")}
#: Generic words that name no split.
_GENERIC = frozenset((
    "all", "archive", "archives", "batch", "batches", "chunk", "chunks", "data", "dataset", "datasets", "default",
    "download", "downloads", "file", "files", "image", "images", "img", "imgs", "output", "outputs", "out", "part",
    "parts", "raw", "root", "sample", "samples", "set", "shard", "shards", "tar", "tars", "wds", "webdataset",
))  # fmt: skip
_WORD_RE = re.compile(rf"({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?:set|data|split)?(?:(?:19|20)\d\d)?")
_TOKENS_RE = re.compile(r"[^A-Za-z0-9]+")
#: The end of a word within a name: ``trainA``, ``myTest``.
_CAPITAL_RE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CANONICAL_RE = re.compile(r"(?P<split>[^/]+)/(?P=split)-[0-9]{6,}")
#: The part before a shard's number, the number, and the total if the name has it.
_NUMBERED_RE = re.compile(r"(.*?)([-_.]*)(\d+)(?:-of-(\d+))?")
#: A number with so many digits is part of a series, even with nothing before it.
_NUMBERING_DIGITS = 3
#: After a single letter, a number with so many digits is an id.
_ID_DIGITS = 7
_VERSION_RE = re.compile(r"v?\d*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PathSplits:
    """The split of each tar. ``renamed`` maps names that are not valid for a split to the ones used instead.

    ``joined`` has the splits with several words (``train2014`` and ``train2017``), and these words.
    """

    of: Mapping[str, str]
    renamed: Mapping[str, str] = field(default_factory=dict)
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def told(self) -> list[str]:
        """Notes about the splits."""
        return [
            *(
                f"split {name} is renamed to {given}: its own name is not allowed"
                for name, given in self.renamed.items()
            ),
            *(f"{' and '.join(words)} are both split {split}" for split, words in self.joined.items()),
        ]


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbered shards of which some are missing: the part before the number, how many there are and should be."""

    name: str
    found: int
    wanted: int

    def __str__(self) -> str:
        return f"{self.name or 'shards'}: {self.found:,} of {self.wanted:,}"


def split_of_word(word: str) -> str | None:
    """The split that a whole word names: ``Train``, ``training``, ``train2017``, ``trainset``; None for any other word."""
    match = _WORD_RE.fullmatch(word.lower())
    return SPLIT_WORDS[match[1]] if match else None


def other_splits(split: str | None, keys: Iterable[str]) -> list[str]:
    """Words in the folders of keys that name another split than their shard's."""
    folders = {key.rpartition("/")[0] for key in keys if "/" in key}
    return sorted(
        {word for folder in folders for word in folder.split("/") if split_of_word(word) not in (None, split)}
    )


def narrower(one: str, other: str) -> str | None:
    """Of two splits of an image, the one that is part of the other; None if neither is."""
    if other in UNIONS.get(one, ()):
        return other
    return one if one in UNIONS.get(other, ()) else None


def split_in_name(name: str) -> tuple[str, str] | None:
    """The split in a part of a name (``seg_train``, ``cc3m-val``, ``trainA``), and that part; None if several disagree.

    ``name`` is the name of a folder, or of a file without extension and number.
    """
    found: dict[str, str] = {}
    for token in _TOKENS_RE.split(name):
        whole = split_of_word(token)
        parts = [token] if whole is not None else _CAPITAL_RE.split(token)
        found |= {split: part for part in parts if (split := split_of_word(part)) is not None}
    return next(iter(found.items())) if len(found) == 1 else None


def beside_split(name: str) -> str:
    """The rest of a name besides its split, in lower case and without numbers: ``a`` of ``train_A``, nothing of ``train2017`` and ``train_0``."""
    found = split_in_name(name)
    if found is None or split_of_word(name) is not None:
        return ""
    return re.sub(r"[^a-z]", "", name.replace(found[1], "", 1).lower())


def splits_of_paths(paths: Iterable[str]) -> PathSplits:
    """The split of each tar, by its path below the common root.

    The nearest whole word decides (the file's name without its number, then its folder, and so on upwards), else the
    nearest name that contains such a word. Paths without one all belong to DEFAULT_SPLIT if their names are generic, else
    to the split named after their folder, or after the part of their name before the number.
    """
    known, unknown = {}, []
    words: dict[str, set[str]] = {}
    for path in paths:
        found = _known(path)
        if found is None:
            unknown.append(path)
        else:
            known[path] = found[0]
            words.setdefault(found[0], set()).add(found[1])
    of, renamed = dict(known), {}
    for path in unknown:
        name = _own_name(path, apart=bool(known)) or DEFAULT_SPLIT
        of[path] = name if is_split_name(name) else allowed_name(name)
        if of[path] != name:
            renamed[name] = of[path]
    joined = {split: tuple(sorted(found)) for split, found in sorted(words.items()) if len(found) > 1}
    return PathSplits(of, renamed, joined)


def gaps(paths: Iterable[str]) -> list[Gap]:
    """Numbered series (``-of-000NN``, or consecutive numbers) in which numbers are missing."""
    series: dict[tuple[str, str | None], set[int]] = {}
    for path in paths:
        match = _NUMBERED_RE.fullmatch(tar_stem(path.rpartition("/")[2]))
        if match:
            folder = path.rpartition("/")[0]
            series.setdefault((f"{folder}/{match[1]}".lstrip("/"), match[4]), set()).add(int(match[3]))
    found = []
    for (name, of), numbers in series.items():
        wanted = int(of) if of else max(numbers) - min(numbers) + 1
        if wanted > len(numbers) and (of or wanted < 2 * len(numbers)):  # else the numbers are not a series
            found.append(Gap(name, len(numbers), wanted))
    return found


def _known(path: str) -> tuple[str, str] | None:
    """The split named by a known word in a path, and the word."""
    folder, _, _ = path.rpartition("/")
    stem = tar_stem(path.rpartition("/")[2])
    if _CANONICAL_RE.fullmatch(f"{folder}/{stem}") and is_split_name(folder):
        return folder, folder
    match = _NUMBERED_RE.fullmatch(stem)
    places = [stem, *([match[1]] if match else []), *reversed(folder.split("/"))]
    for place in places:
        split = split_of_word(place)
        if split is not None:
            return split, place.lower()
    for place in places:
        found = split_in_name(place)
        if found is not None:
            return found[0], found[1].lower()
    return None


def _own_name(path: str, *, apart: bool) -> str | None:
    """The split's name in a path without a known word; ``apart``: other paths have such words, so a bare name is a split."""
    folder, _, _ = path.rpartition("/")
    named = [part for part in folder.split("/") if not says_nothing(part)]
    if named:
        return named[0]
    stem = tar_stem(path.rpartition("/")[2])
    match = _NUMBERED_RE.fullmatch(stem)
    if match is None:
        return stem if apart and not says_nothing(stem) else None
    name = match[1] if match[2] or apart or len(match[3]) >= _NUMBERING_DIGITS else ""
    alone = len(name) == 1 and not match[2] and len(match[3]) >= _ID_DIGITS  # n01440764, a class of ImageNet
    return None if alone or says_nothing(name) else name


def says_nothing(name: str) -> bool:
    """Whether a name is generic: ``data``, ``part``, a version."""
    return name.lower() in _GENERIC or _VERSION_RE.fullmatch(name) is not None


def allowed_name(name: str) -> str:
    """The nearest valid name for a split."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name).replace("tar", "ta_r").lstrip("-")[:64]
    return plain if is_split_name(plain) else DEFAULT_SPLIT
