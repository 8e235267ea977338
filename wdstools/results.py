"""Immutable values that operations return. They hold plain data, print as text and become JSON with ``to_dict``."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict

from wdstools.address import Url
from wdstools.errors import IntegrityError
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Every kind of damage that a check reports; append-only.
FINDING_KINDS = (
    "payload",
    "header",
    "padding",
    "trailer",
    "truncated",
    "missing",
    "extra",
    "swapped",
    "unreadable",
    "image",
    "index",
    "manifest",
    "provenance",
    "skipped",
    "card",
    "sums",
    "file",
    "emitted",
    "columns",
)

#: Every cause of a finding that is not an error code, with its meaning; append-only.
FINDING_CAUSES = {
    "another-dataset": "another dataset is at the place of the shards",
    "archive-end-damaged": "the end-of-archive blocks are not zero",
    "archive-end-missing": "the end-of-archive blocks are missing",
    "bytes-differ": "the bytes are not those that were packed",
    "bytes-follow": "there are bytes after the end of the archive",
    "card-missing": "there is no dataset card",
    "card-not-text": "the card is not UTF-8",
    "card-part-differs": "a part of the card does not match the manifest",
    "change-unfinished": "a change was interrupted before this file was moved to its place",
    "columns-of-another": "the added columns belong to another version of the dataset",
    "column-differs": "a column of the index does not match the shard",
    "emitted-differs": "an emitted file is not as it was written",
    "emitted-missing": "an emitted file is missing",
    "emitted-of-another": "the emitted files belong to another version",
    "field-wrong": "a field of the manifest does not match a shard that is whole",
    "file-missing": "a file other than a shard is missing",
    "image-damaged": "an image cannot be decoded",
    "forged": "the bytes have the fast digest of what was packed, but not its SHA-256",
    "group-differs": "the headers or the padding of a sample are not as they were packed",
    "header-bit": "one bit of a header is wrong",
    "header-differs": "a header is not as it was packed",
    "header-form": "a header is not in canonical form",
    "header-missing": "there is no header where one is expected",
    "image-missing": "a sample has no image",
    "index-missing": "an index is missing",
    "keys-differ": "the keys of added columns do not match the index",
    "line-differs": "a digest in the checksum list does not match the manifest",
    "line-digest-damaged": "a digest in the checksum list is damaged",
    "line-missing": "the checksum list lacks the line of a file",
    "line-unknown": "the checksum list has a line for a file that is not part of the dataset",
    "list-form": "the checksum list does not have the form in which it is written",
    "list-missing": "the checksum list is missing",
    "manifest-missing": "the manifest is missing",
    "member-not-text": "a member is not what its extension says: a caption is not UTF-8, or a label is not a number",
    "no-copy": "no copy has a whole version of what is damaged",
    "not-a-tar": "a file in the place of a shard is not a tar",
    "of-another": "a shard is whole, but belongs to something else",
    "one-bit": "one bit is wrong",
    "outside-differs": "bytes outside the samples are not as they were packed",
    "padding-not-zero": "padding is not zero",
    "payload-cut": "the file ends inside a sample",
    "payload-differs": "a payload is not as it was packed",
    "replaced": "a later version is here",
    "rows-differ": "the rows of an index do not match the manifest",
    "sample-moved": "everything from here on has moved",
    "samples-lost": "the shard ends too early, and samples are lost",
    "shard-changed": "a shard is not as it was adopted",
    "shard-longer": "a shard is longer than when it was packed",
    "shard-missing": "a shard is missing",
    "shards-missing": "none of the shards is where they should be",
    "shard-shorter": "a shard is shorter than when it was packed",
    "store-differs": "the store holds other bytes",
    "store-proves-nothing": "the store reports no digest that proves what it holds",
    "stranger": "a file among the shards is not part of this dataset",
    "values-differ": "the labels, captions or sizes in an index do not match the manifest",
    "swapped": "a shard has the content of another one",
}


class Proved(StrEnum):
    """Against what an answer proves the bytes and values that it is about. It belongs to an answer, never to a dataset.

    ``FORGER``: a chain of SHA-256 digests leads from a root digest that came from elsewhere to each of them. ``ACCIDENT``:
    each matches a digest, but no root digest was given, or only a fast digest (XXH3) exists, for which a forger can make
    other bytes. ``NOTHING``: they were not compared, or did not match.
    """

    NOTHING = "nothing"
    ACCIDENT = "accident"
    FORGER = "forger"


_PROOFS = {
    Proved.NOTHING: "not proved",
    Proved.ACCIDENT: "proved against accidents, not against forgers",
    Proved.FORGER: "proved against forgers, by SHA-256 from the root digest or the manifest that was named",
}


def weakest(*proved: Proved) -> Proved:
    """The weakest of these: what is proved of something that depends on all of them."""
    order = (Proved.NOTHING, Proved.ACCIDENT, Proved.FORGER)
    return order[min(map(order.index, proved))]


#: The column of every index that no digest covers, as answers name it in ``not_covered``.
SOURCE_COLUMN = "index column source"


class Proof(TypedDict):
    """What an answer proves: ``proved`` and ``authenticated`` for programs, ``proof`` for people."""

    proved: str
    authenticated: bool
    proof: str


def proof(proved: Proved, signer: str | None = None) -> Proof:
    """What an answer proves, for programs (``proved``, ``authenticated``) and for people (``proof``): the only wording of it.

    ``signer`` is the key whose signature the proof starts from, if a signature was required.
    """
    text = _PROOFS[proved]
    if signer and proved is Proved.FORGER:
        text = f"proved against forgers, by SHA-256 from the manifest that the key {signer} has signed"
    return {"proved": str(proved), "authenticated": proved is Proved.FORGER, "proof": text}


def to_dict(value: object) -> Any:
    """A result as plain JSON values, without fields that are None and addresses that may hold a secret."""
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        document = {name: to_dict(item) for name, item in pairs if item is not None and not isinstance(item, Url)}
        proved = getattr(value, "proved", None)
        return document | ({**proof(proved, getattr(value, "signer", None))} if isinstance(proved, Proved) else {})
    if isinstance(value, dict):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_dict(item) for item in value]
    return value


def in_json(value: Any) -> Any:
    """A value of a column for JSON: a float that is not finite becomes the text NaN, Infinity or -Infinity."""
    if isinstance(value, list):
        return [in_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, and where.

    ``kind`` is one of FINDING_KINDS. ``start`` and ``length`` bound the damage in bytes of ``path``, as tightly as the
    checksums allow (for a payload, to the payload). ``cause`` is a stable code for what is wrong: one of FINDING_CAUSES,
    or the code of an error that occurred. ``field`` is the part of ``path`` that is concerned: a field, a column, or the
    path on a line of a list. Programs decide by these; ``message`` is for people.
    """

    kind: str
    path: str
    message: str
    key: str | None = None
    member: str | None = None
    start: int | None = None
    length: int | None = None
    expected: str | None = None
    got: str | None = None
    cause: str = ""
    field: str | None = None

    def __str__(self) -> str:
        where = self.path
        if self.key is not None:
            where += f", sample {self.key}" + (f", member {self.member}" if self.member else "")
        if self.start is not None:
            where += f", bytes {self.start}..{self.start + (self.length or 0)}"
        lines = [f"{self.kind}: {self.message}: {where}"]
        if self.expected is not None or self.got is not None:
            known = (("expected", self.expected), ("got", self.got))
            lines.append("  " + "  ".join(f"{name} {value}" for name, value in known if value is not None))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Report:
    """What a check covered and what it found. Damage is data: nothing is raised until you ask for it.

    ``checked`` counts what was checked (``shards``, ``samples``, ``bytes``, ``files``) and, in a partial check, the shards
    that were ``not_asked`` for. ``unproved`` names what could not be checked at the requested level. ``proved`` says against
    what the rest is proved, and ``signer`` is the key whose signature was required. ``not_covered`` was checked too, but the
    given root digest does not cover it: only data that came along says what it must be. ``believed`` is the record of earlier
    runs because of which shards were skipped. ``left`` names leftovers of unfinished work next to the dataset, which are
    neither damage nor part of it.
    """

    level: str
    checked: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
    unproved: tuple[str, ...] = ()
    root: str | None = None
    proved: Proved = Proved.NOTHING
    signer: str | None = None
    believed: str | None = None
    not_covered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything was checked and no damage was found."""
        return not self.findings and not self.unproved

    def raise_for_findings(self) -> None:
        """Raise IntegrityError with this report if it has findings."""
        if self.findings:
            raise IntegrityError(
                counted(len(self.findings), "finding"),
                report=self,
                where=self.findings[0].path,
                got=str(self.findings[0]),
            )


@dataclass(frozen=True, slots=True)
class Skip:
    """A sample, or a part of one, that was not packed, and why. ``reason`` is a stable code."""

    reason: str
    path: str
    split: str | None = None
    key: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something in tars made by other tools that will go wrong, and in which readers. ``code`` is stable.

    ``hits`` names the readers; ``example`` is the first of ``count`` cases; ``hint`` says what helps.
    """

    code: str
    count: int
    message: str
    hits: tuple[str, ...]
    example: str
    hint: str
