"""The problems that readers have with foreign tars: stable codes, which readers each one affects, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.results import Hazard

if TYPE_CHECKING:
    from collections.abc import Iterable

_REPACK = "wdstools pack SHARDS DEST makes clean shards of them, without re-encoding"
_REPACK_APART = (
    "wdstools pack SHARDS DEST --prefix-keys shard makes clean shards of them, with every sample, without re-encoding"
)
#: With repeated keys, a plain pack would leave samples out.
_REPEATED = ("key-duplicate", "key-duplicate-across")
_EVERYBODY = ("webdataset", "huggingface", "energon", "dali", "open_clip", "timm")


@dataclass(frozen=True, slots=True)
class HazardKind:
    """A kind of problem: its description, the consumers that it affects, and what helps."""

    message: str
    hits: tuple[str, ...]
    hint: str = _REPACK


#: Every code, append-only. Sources: each was tried with webdataset 1.0, datasets 5.2, energon 7.4, DALI 2.4.
HAZARD_KINDS = {
    "key-dots": HazardKind(
        "dots in keys: the first one ends the key, so that samples are merged silently", _EVERYBODY
    ),
    "members-apart": HazardKind("members of a sample lie apart: readers give each part as a sample", _EVERYBODY),
    "key-duplicate": HazardKind("a key is there twice in a shard", _EVERYBODY, _REPACK_APART),
    "key-duplicate-across": HazardKind("a key is there in two shards", ("energon",), _REPACK_APART),
    "member-duplicate": HazardKind("a member is there twice in a sample", ("webdataset", "huggingface", "open_clip", "timm")),
    "member-missing": HazardKind(
        "some samples lack a member that others have: readers drop them, or give nothing", ("huggingface", "open_clip", "timm", "dali")
    ),
    "extension-case": HazardKind("upper-case extensions", ("huggingface", "energon", "dali")),
    "extension-jpeg": HazardKind(
        "images called .jpeg: timm looks for jpg, png and webp, DALI for what it is told", ("timm", "dali")
    ),
    "pax-names": HazardKind("names in pax records: DALI gives such samples without members", ("dali",)),
    "pax-sizes": HazardKind("sizes in pax records", ("dali",)),
    "size-binary": HazardKind("sizes in base-256, a GNU extension: DALI refuses them", ("dali",)),
    "name-hidden": HazardKind(
        "hidden or __x__ members: webdataset, energon and Hugging Face pass over them, DALI counts a sample", ("dali",)
    ),
    "name-without-extension": HazardKind("members without an extension: DALI counts a sample", ("dali",)),
    "name-spaces": HazardKind("spaces in names: DALI's index is separated by spaces", ("dali",)),
    "name-not-utf8": HazardKind("names that are not UTF-8", ("webdataset", "huggingface", "energon", "dali")),
    "not-a-file": HazardKind("links or devices, which no reader follows", _EVERYBODY),
    "member-sparse": HazardKind(
        "sparse members, which tar stores in parts: readers get the parts, so they were left out",
        _EVERYBODY,
        "unpack the shard with tar -xf, and make it again without --sparse (-S)",
    ),
    "caption-empty": HazardKind("empty captions: open_clip trains on them as they are", ("open_clip",)),
    "caption-not-utf8": HazardKind("captions that are not UTF-8: decoding them ends the epoch", ("webdataset", "huggingface", "open_clip", "energon")),
    "shard-compressed": HazardKind(
        "compressed shards cannot be read at random: DALI, energon and every index need plain tars", ("dali", "energon")
    ),
    "shard-zstandard": HazardKind("no WebDataset reader opens .tar.zst without a pipe: command", _EVERYBODY),
    "shard-cut": HazardKind(
        "the file ends inside a member: what is whole was taken", _EVERYBODY, "get the shard again, then adopt it again"
    ),
    "shard-unreadable": HazardKind(
        "a file that is no tar, whatever its name: nothing of it was taken", _EVERYBODY, "get the shard again, then adopt it again"
    ),
    "shard-damaged": HazardKind(
        "no tar header where one must be: what lies before was taken", _EVERYBODY, "get the shard again, then adopt it again"
    ),
    "archive-resumed": HazardKind(
        "samples follow the end of an archive (several tars in one file, or a hole of zeros): readers stop there",
        _EVERYBODY,
    ),
    "archive-trailing": HazardKind(
        "bytes that are no tar follow the end of an archive: readers never see them", (), "compare the shard with where it came from"
    ),
    "archive-end-missing": HazardKind(
        "no end of archive: every reader takes it, and nobody sees whether something is missing",
        (),
        "compare the shard with where it came from",
    ),
    "shard-empty": HazardKind("a shard without samples", ("webdataset", "huggingface")),
    "shard-numbers": HazardKind("numbers are missing between the shards", _EVERYBODY, "look where the shards came from"),
    "stats-missing": HazardKind(
        "img2dataset wrote no _stats.json for a shard: it was stopped while writing it", _EVERYBODY, "run img2dataset again: it goes on with such shards"
    ),
    "count-differs": HazardKind(
        "a file beside the shards gives another number of samples than they hold", ("open_clip", "timm", "energon"), "remove it, or: wdstools emit DATASET --for all"
    ),
    "file-beside-shards": HazardKind(
        "files beside the shards break Hugging Face's detection", ("huggingface",), "wdstools emit DATASET --for huggingface    writes the card that names the shards"
    ),
    "split-renamed": HazardKind("a split's name cannot be kept (timm reads one with 'tar' in it as a pattern)", ()),
    "splits-joined": HazardKind(
        "names of splits that differ lead to one split", (), "wdstools adopt SHARDS --split NAME    for each of them apart, if they are not one"
    ),
    "split-unread": HazardKind(
        "keys lie in folders of another split than the shard's: all of the shard is in its split",
        (),
        "wdstools pack SHARDS DEST --split NAME=FILE, repeated, divides them",
    ),
}  # fmt: skip


class HazardCounts:
    """Counts of each code, with one example: the first."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, code: str, example: str, count: int = 1) -> None:
        """Add ``count`` cases."""
        if count:
            self._counts[code] = self._counts.get(code, 0) + count
            self._examples.setdefault(code, example)

    def merge(self, others: Iterable[Hazard]) -> None:
        """Add counts from elsewhere."""
        for other in others:
            self.add(other.code, other.example, other.count)

    def hazards(self) -> tuple[Hazard, ...]:
        """The hazards found, in the order of HAZARD_KINDS. No hint leads to a loss of samples."""
        repack = _REPACK_APART if any(code in self._counts for code in _REPEATED) else _REPACK
        return tuple(
            Hazard(
                code,
                count,
                kind.message,
                kind.hits,
                self._examples[code],
                repack if kind.hint in (_REPACK, _REPACK_APART) else kind.hint,
            )
            for code, kind in HAZARD_KINDS.items()
            if (count := self._counts.get(code))
        )
