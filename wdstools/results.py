"""Frozen values that operations return. They hold plain data, print as text and turn into JSON with ``to_dict``."""

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

#: Every cause of a finding that is not the code of an error, with what it says of the finding's path; append-only.
FINDING_CAUSES = {
    "another-dataset": "another dataset lies where the shards were looked for",
    "archive-end-damaged": "the end of the archive is not zero",
    "archive-end-missing": "the archive ends before its end",
    "bytes-differ": "the bytes are not those that were packed",
    "bytes-follow": "bytes follow the end of the archive",
    "card-missing": "there is no dataset card",
    "card-not-text": "the card is not UTF-8",
    "card-part-differs": "a part of the card is not what the manifest gives",
    "change-unfinished": "a change was cut short before this file was moved to its place",
    "columns-of-another": "added columns were made for another version of the dataset",
    "column-differs": "a column of the index is not what the shard gives",
    "emitted-differs": "an emitted file is not what was written",
    "emitted-missing": "an emitted file is missing",
    "emitted-of-another": "what was emitted is of another version",
    "field-wrong": "a field of the manifest does not fit a shard that is whole",
    "file-missing": "a small file is missing",
    "image-damaged": "an image cannot be decoded",
    "forged": "the bytes have the fast digest of what was packed, and not its SHA-256",
    "group-differs": "headers or padding of a sample are not what they were",
    "header-bit": "one bit of a header is wrong",
    "header-differs": "a header is not what was packed",
    "header-form": "a header is not in canonical form",
    "header-missing": "there is no header where one must be",
    "image-missing": "a sample has no image",
    "index-missing": "an index is missing",
    "keys-differ": "the keys of added columns are not those of the index",
    "line-differs": "a line of the checksum list is not the manifest's digest",
    "line-digest-damaged": "the digest on a line of the checksum list is damaged",
    "line-missing": "the checksum list has no line for a file",
    "line-unknown": "the checksum list has a line for a file that is not of the dataset",
    "list-form": "the checksum list is not as it was written",
    "list-missing": "the checksum list is missing",
    "manifest-missing": "the manifest is missing",
    "member-not-text": "a member is not what its extension says: a caption that is not UTF-8, a label that is no number",
    "no-copy": "what is damaged is whole in no copy",
    "not-a-tar": "a file that is to be a shard is something else",
    "of-another": "a whole shard of something else",
    "one-bit": "one bit is wrong",
    "outside-differs": "bytes outside all samples are not what they were",
    "padding-not-zero": "padding is not zero",
    "payload-cut": "the file ends inside a sample",
    "payload-differs": "a payload is not what was packed",
    "replaced": "a later version lies here",
    "rows-differ": "the rows of an index are not those of the manifest",
    "sample-moved": "all that follows has moved",
    "samples-lost": "the shard ends, and samples with it",
    "shard-changed": "a shard is not what was adopted",
    "shard-longer": "a shard is longer than it was packed",
    "shard-missing": "a shard is missing",
    "shards-missing": "none of the shards is where they were looked for",
    "shard-shorter": "a shard is shorter than it was packed",
    "store-differs": "the store holds other bytes",
    "store-proves-nothing": "the store does not prove what it holds",
    "stranger": "a file that is not of this dataset lies among its shards",
    "values-differ": "the labels, captions or sizes in an index are not those of the manifest",
    "swapped": "a shard has the content of another one",
}


class Proved(StrEnum):
    """Against what an answer has proved the bytes and values that it is about: of each answer, never of a dataset.

    ``FORGER``: SHA-256 leads from a root digest that came from elsewhere to each of them. ``ACCIDENT``: every one agrees with
    a digest, but nobody gave a root digest, or a fast digest (XXH3) is all that there is: a forger can make other bytes
    with the same one. ``NOTHING``: they were not compared, or did not agree.
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
    """What is proved of something that takes all of these."""
    order = (Proved.NOTHING, Proved.ACCIDENT, Proved.FORGER)
    return order[min(map(order.index, proved))]


#: A column of every index that no digest covers, as answers name it in ``not_covered``.
SOURCE_COLUMN = "index column source"


class Proof(TypedDict):
    """What an answer proves: ``proved`` and ``authenticated`` for programs, ``proof`` for people."""

    proved: str
    authenticated: bool
    proof: str


def proof(proved: Proved, signer: str | None = None) -> Proof:
    """What an answer proves, for programs (``proved``, ``authenticated``) and for people (``proof``): said nowhere else.

    ``signer`` is the key whose signature the proof begins with, where one was asked for.
    """
    text = _PROOFS[proved]
    if signer and proved is Proved.FORGER:
        text = f"proved against forgers, by SHA-256 from the manifest that the key {signer} has signed"
    return {"proved": str(proved), "authenticated": proved is Proved.FORGER, "proof": text}


def to_dict(value: object) -> Any:
    """A result as plain JSON values; fields that are None, and addresses that may hold a secret, are left out."""
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
    """A value of a column as JSON has it: a float that is no number is the text NaN, Infinity or -Infinity."""
    if isinstance(value, list):
        return [in_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, and where.

    ``kind`` is one of FINDING_KINDS. ``start`` and ``length`` bound the damage in bytes of ``path``; the damage lies
    inside these bounds, which are as tight as the checksums allow (a payload's are the payload's). ``cause`` is a
    stable code that says what was wrong, one of FINDING_CAUSES or the code of the error that was met; ``field`` is the
    part of ``path`` that it concerns: a field, a column, or the path on a line of a list. Programs decide by these;
    ``message`` is for people.
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
    """What a check looked at and what it found. Damage is data: nothing is raised until you ask for it.

    ``checked`` counts what was looked at (``shards``, ``samples``, ``bytes``, ``files``), and in a check of a part the
    shards that were ``not_asked`` for; ``unproved`` names what
    could not be checked at the level that was asked for; ``proved`` is against whom it was found to be right, ``signer`` the key whose signature
    was asked for. ``not_covered`` is what was checked too, and what the root digest that was given does not cover: only what came with
    the data says what it is to be. ``believed`` is the file of an earlier run by which shards were passed over. ``left`` names what
    unfinished work has left beside the dataset: no damage, and no part of it.
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
        """Whether everything was checked and nothing was found."""
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
    """A sample (or a part of one) that was not packed, and why. ``reason`` is a stable code."""

    reason: str
    path: str
    split: str | None = None
    key: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something in tars of others that will go wrong, and for whom. ``code`` is stable.

    ``hits`` names consumers; ``example`` is the first of ``count`` cases; ``hint`` says what helps.
    """

    code: str
    count: int
    message: str
    hits: tuple[str, ...]
    example: str
    hint: str
