"""Lines of ``--json`` that are not results of the library. Only type checkers and ``docs/make_schemas.py`` read this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from wdstools.results import Proof

if TYPE_CHECKING:
    from wdstools.dedup.results import CaptionCounts, LevelCounts


class Meant(TypedDict):
    """A name that is not a key, and the key that it was taken to mean."""

    name: str
    key: str


class Key(TypedDict):
    """A sample's key."""

    key: str


class Absent(TypedDict):
    """Keys to remove that are not in the dataset."""

    keys: int
    missing_keys: Sequence[str]


class FilesAndBytes(TypedDict):
    """How many files, and their total size."""

    files: int
    bytes: int


class Comparison(TypedDict):
    """How a place compares with the dataset: files by state, and the root digest of another dataset there, if any."""

    target: str
    states: Mapping[str, FilesAndBytes]
    replaces: NotRequired[str | None]


class Transfer(Proof):
    """What a pull would fetch; ``share`` is the fraction of the shards' bytes."""

    samples: int
    bytes: int
    requests: int
    share: float
    root: str
    missing_keys: int


class Page(TypedDict):
    """Where the page is served."""

    url: str


class WithoutPicture(TypedDict):
    """A sample on the page whose picture cannot be shown."""

    key: str
    reason: str


class MemberLine(TypedDict):
    """One member: ``text`` where its bytes are UTF-8, else ``base64``."""

    name: str
    bytes: int
    text: NotRequired[str]
    base64: NotRequired[str]


class SchemaLine(TypedDict):
    """The JSON Schema of the lines of a command."""

    command: str
    document: Mapping[str, Any]


class PlanSummary(TypedDict):
    """A plan that was not carried out."""

    verb: str
    target: str
    steps: int
    bytes: int
    unsolved: int
    applied: Literal[False]


class ScanSummary(TypedDict):
    """What a source contains: samples by split and label, what would be skipped by reason, and what happens to its files."""

    source: str
    recipe: str
    layout: str
    samples: Mapping[str, Mapping[str, int]]
    total: int
    image_types: Mapping[str, int]
    members: Sequence[str]
    skipped: Mapping[str, int]
    losses: int
    unmatched: Mapping[str, int]
    differences: Sequence[str]
    account: Mapping[str, int]
    notes: Sequence[str]


class VerifySummary(Proof):
    """What was checked, how many findings there are, and what could not be proved."""

    level: str
    checked: Mapping[str, int]
    findings: int
    unproved: Sequence[str]
    root: str | None
    signer: NotRequired[str]
    not_covered: NotRequired[Sequence[str]]
    believed: NotRequired[str]
    left: NotRequired[Sequence[str]]


class InfoSummary(TypedDict):
    """What a dataset is; ``splits`` counts samples."""

    profile: str
    name: str
    version: int
    totals: Mapping[str, int]
    members: Sequence[str]
    labels: Sequence[str] | None
    root: str
    splits: Mapping[str, int]


class ShardsSummary(TypedDict):
    """How many shards were listed."""

    shards: int


class SamplesSummary(TypedDict):
    """How many samples were listed, and which requested keys are missing."""

    samples: int
    missing_keys: NotRequired[Sequence[str]]


class MembersSummary(TypedDict):
    """How many members were written."""

    members: int


class SchemasSummary(TypedDict):
    """How many schemas there are."""

    schemas: int


class SheetSummary(SamplesSummary):
    """How many samples were chosen, shown, and shown without a picture."""

    shown: int
    without_picture: int


class ColumnsSummary(TypedDict):
    """How many sets of columns a dataset has."""

    sets: int


class DiffSummary(Proof):
    """What differs: ``roots`` of both, ``fields`` of the manifests, counts of shards and samples."""

    roots: Sequence[str]
    fields: Mapping[str, Sequence[Any]]
    shards: Mapping[str, int]
    samples: Mapping[str, int]


class DuplicatesSummary(Proof):
    """How many images are distinct at each level, which splits leak, and how many groups were listed."""

    level: str
    method: str
    samples: int
    unique: int
    levels: Sequence[LevelCounts]
    same_size_unique: int
    low_information: int
    other_labels: int
    other_captions: int
    flipped: int
    computed: int
    unreadable: Sequence[Sequence[str]]
    captions: CaptionCounts | None
    versions: Mapping[str, str] | None
    groups: int


class SharedSummary(Proof):
    """How many images of a set the other sets also hold, and how many of each other set it holds."""

    name: str
    level: str
    samples: int
    others: Mapping[str, int]
    held: Mapping[str, int]
    unreadable: Sequence[Sequence[str]]
    shared: int


class HashesSummary(TypedDict):
    """The hashes of images outside a dataset, in one file: how many, and which images cannot be decoded."""

    name: str
    hashes: str
    samples: int
    unreadable: Sequence[Sequence[str]]


DoctorSummary = TypedDict(
    "DoctorSummary", {"consumers": int, "works": int, "fails": int, "cannot": int, "not installed": int}
)
DoctorSummary.__doc__ = "How many readers were tried, and how many can read the dataset."
