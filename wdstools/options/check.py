"""The options of ``verify``, ``repair``, ``duplicates`` and ``bench``."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.errors import UsageError
from wdstools.options.declare import Option, StrPath
from wdstools.options.pack import DuplicateLevel
from wdstools.options.read import AUTHORITIES, MIN_VERSION, PUBLIC_KEY, OpenChoices
from wdstools.units import parse_duration

_SCRUB = "A little at a time"
_COMPARE = "What is compared"

VerifyLevel = Literal["size", "remote", "digest", "samples", "decode"]
DigestKind = Literal["xxh3_128", "sha256"]
Peer = Literal["webdataset", "datasets", "dali", "webshart"]


def parse_part(text: str, where: str) -> tuple[int, int]:
    """``3/7`` as (3, 7); raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", text)
    if found is None:
        raise UsageError("not a part", where=where, expected="i/n, as 3/7", got=text)
    return int(found[1]), int(found[2])


def parse_peers(text: str, where: str) -> tuple[str, ...]:
    """Names between commas."""
    del where
    return tuple(filter(None, text.split(",")))


class VerifyChoices(TypedDict, total=False):
    """What is checked, and how thoroughly."""

    at: Annotated[
        StrPath | None,
        Option(
            None, "Where the shards are, if not beside the manifest; one shard file is checked alone.", metavar="WHERE"
        ),
    ]
    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a place you trust: SHA-256 then proves it against forgers.",
            metavar="DIGEST",
        ),
    ]
    public_key: Annotated[StrPath | None, PUBLIC_KEY]
    authorities: Annotated[StrPath | None, AUTHORITIES]
    min_version: Annotated[int | None, MIN_VERSION]
    level: Annotated[
        VerifyLevel, Option("digest", "How thoroughly: each level checks what the one before it does, and more.")
    ]
    digest: Annotated[
        DigestKind | None,
        Option(
            None,
            "xxh3_128, which finds accidents at memory speed, or sha256; without it, xxh3_128, or sha256 with a root or at.",
        ),
    ]
    splits: Annotated[
        Sequence[str] | str | None,
        Option(None, "Check this split only; may be repeated.", flag="--split", metavar="NAME", complete="split"),
    ]
    only_present: Annotated[bool, Option(False, "Check the shards that are here; that others are not is no damage.")]
    probe: Annotated[
        bool,
        Option(False, "At level remote: first check, on an object of its own, that the store refuses wrong checksums."),
    ]
    part: Annotated[tuple[int, int], Option((1, 1), "Check the i-th of n parts, as 3/7.", read=parse_part, shown="1/1")]
    resume: Annotated[
        bool,
        Option(
            False, "Continue where the last run with this option stopped; begin again when all was checked.", _SCRUB
        ),
    ]
    max_age: Annotated[
        float | None,
        Option(
            None,
            "Pass over shards that were found whole less than this long ago, as 7d.",
            _SCRUB,
            least=0,
            metavar="TIME",
            read=parse_duration,
        ),
    ]
    time_limit: Annotated[
        float | None,
        Option(None, "Begin no shard after this long, as 30m.", _SCRUB, least=0, metavar="TIME", read=parse_duration),
    ]
    state: Annotated[
        StrPath | None,
        Option(None, "Where to keep what was checked, in place of the user's cache.", _SCRUB, metavar="DIR"),
    ]


class RepairChoices(TypedDict, total=False):
    """What a repair may use, and what it may remove."""

    spares: Annotated[
        Sequence[StrPath],
        Option(
            (),
            "Another copy, some shards of it, or the source it was packed from; may be repeated.",
            flag="--from",
            metavar="COPY",
        ),
    ]
    root: Annotated[str | None, Option(None, "The root digest that the dataset must have.", metavar="DIGEST")]
    delete: Annotated[bool, Option(False, "Also delete tars that are not part of the dataset.")]


class DuplicateChoices(TypedDict, total=False):
    """What counts as the same image."""

    root: Annotated[
        str | None,
        Option(
            None, "The root digest that the dataset must have: every image is then proved by SHA-256.", metavar="DIGEST"
        ),
    ]
    level: Annotated[DuplicateLevel | None, Option(None, "What counts as the same; re-encode without it.", _COMPARE)]
    method: Annotated[
        Literal["phash", "size"],
        Option(
            "phash",
            "phash; or size: width, height and file size, which prove nothing and serve comparisons; it has no level.",
            _COMPARE,
        ),
    ]
    captions: Annotated[bool, Option(False, "Count repeated captions and sets of hashtags too.", _COMPARE)]
    cache: Annotated[
        StrPath | None,
        Option(None, "Keep hashes in this folder or bucket, not in the dataset.", _COMPARE, metavar="DIR|URL"),
    ]


class AgainstChoices(TypedDict, total=False):
    """Two sets of images against each other."""

    level: Annotated[DuplicateLevel, Option("re-encode", "What counts as the same.", _COMPARE)]
    cache: Annotated[
        StrPath | None,
        Option(None, "Keep hashes in this folder or bucket, not in the datasets.", _COMPARE, metavar="DIR|URL"),
    ]


class BenchChoices(OpenChoices, total=False):
    """What is measured, and for how long."""

    split: Annotated[str | None, Option(None, "Which split; without it, train or the first.", complete="split")]
    batch_size: Annotated[
        int | None, Option(None, "Samples in a batch; without it 64, or the split if that is smaller.", least=1)
    ]
    threads: Annotated[int | None, Option(None, "Threads that decode; without it, one for each core.", least=1)]
    seconds: Annotated[float, Option(3.0, "How long to measure each thing.", least=0.001)]
    shuffle: Annotated[Literal["full", "block", "none"], Option("full", "The order of reading.")]
    pipeline: Annotated[
        Literal["clip", "resnet"] | None,
        Option(
            None,
            "Measure with the steps on images of a training: clip (a part of at least 0.9, bicubic, 224) or resnet (a random "
            "part, 224, mirrored).",
        ),
    ]
    transform: Annotated[
        str | None,
        Option(
            None, "Measure with a function of your own, as loaders take it for image_transform.", metavar="MODULE:NAME"
        ),
    ]
    wanted: Annotated[
        float | None,
        Option(
            None,
            "Exit 1 below this rate; the advice says how many threads it needs.",
            flag="--min",
            metavar="SAMPLES_PER_S",
        ),
    ]
    compare: Annotated[
        Sequence[Peer],
        Option(
            (),
            "Other loaders in the same run: webdataset, datasets, dali, webshart.",
            metavar="PEER,...",
            complete="peers",
            read=parse_peers,
            shown="",
        ),
    ]
