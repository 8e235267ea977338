"""The options of ``verify``, ``repair``, ``duplicates`` and ``bench``."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.errors import UsageError
from wdstools.options.declare import Option, StrPath
from wdstools.options.pack import DuplicateLevel
from wdstools.options.read import AUTHORITIES, MIN_VERSION, PUBLIC_KEY, OpenChoices
from wdstools.units import parse_duration

_SCRUB = "Incremental checks"
_COMPARE = "How images are compared"

VerifyLevel = Literal["size", "remote", "digest", "samples", "decode"]
DigestKind = Literal["xxh3_128", "sha256"]
Peer = Literal["webdataset", "datasets", "dali", "webshart"]


def parse_part(text: str, where: str) -> tuple[int, int]:
    """Parse ``3/7`` into (3, 7); raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", text)
    if found is None:
        raise UsageError("not a part", where=where, expected="i/n, such as 3/7", got=text)
    return int(found[1]), int(found[2])


def parse_peers(text: str, where: str) -> tuple[str, ...]:
    """Split a comma-separated list of names."""
    del where
    return tuple(filter(None, text.split(",")))


class VerifyChoices(TypedDict, total=False):
    """What to check, and how thoroughly."""

    at: Annotated[
        StrPath | None,
        Option(
            None,
            "Where the shards are, if not next to the manifest. If this is one shard file, only that shard is checked.",
            metavar="WHERE",
        ),
    ]
    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a source you trust; SHA-256 then proves it against forgers.",
            metavar="DIGEST",
        ),
    ]
    public_key: Annotated[StrPath | None, PUBLIC_KEY]
    authorities: Annotated[StrPath | None, AUTHORITIES]
    min_version: Annotated[int | None, MIN_VERSION]
    level: Annotated[
        VerifyLevel,
        Option(
            "digest",
            "What to check: size, names and sizes; remote, the digests that the store reports; digest, every byte; samples, "
            "also headers and captions; decode, also every image. All but size check the indexes too.",
        ),
    ]
    digest: Annotated[
        DigestKind | None,
        Option(
            None,
            "The digest to check: xxh3_128 finds accidental damage at memory speed; sha256 also finds forged bytes. "
            "Default: sha256 if you give a root digest, a public key, authorities or a manifest of your own; otherwise xxh3_128.",
        ),
    ]
    splits: Annotated[
        Sequence[str] | str | None,
        Option(None, "Check only this split; may be repeated.", flag="--split", metavar="NAME", complete="split"),
    ]
    only_present: Annotated[
        bool, Option(False, "Check only the shards that are present; do not report the others as missing.")
    ]
    probe: Annotated[
        bool,
        Option(False, "At level remote, first write test objects to see whether the store rejects wrong checksums."),
    ]
    part: Annotated[
        tuple[int, int], Option((1, 1), "Check only part i of n, such as 3/7.", read=parse_part, shown="1/1")
    ]
    resume: Annotated[
        bool,
        Option(
            False,
            "Continue where the last run with this option stopped; start over once everything has been checked.",
            _SCRUB,
        ),
    ]
    max_age: Annotated[
        float | None,
        Option(
            None,
            "Skip shards that an earlier check found whole less than this long ago, such as 7d.",
            _SCRUB,
            least=0,
            metavar="TIME",
            read=parse_duration,
        ),
    ]
    time_limit: Annotated[
        float | None,
        Option(
            None,
            "Start no new shard after this long, such as 30m.",
            _SCRUB,
            least=0,
            metavar="TIME",
            read=parse_duration,
        ),
    ]
    state: Annotated[
        StrPath | None,
        Option(
            None,
            "Keep the record of checked shards in this folder. Default: the user's cache folder.",
            _SCRUB,
            metavar="DIR",
        ),
    ]


class RepairChoices(TypedDict, total=False):
    """Where a repair takes good bytes from, and what it may delete."""

    spares: Annotated[
        Sequence[StrPath],
        Option(
            (),
            "Take good bytes from here: another copy, some of its shards, or the source that the dataset was packed "
            "from; may be repeated.",
            flag="--from",
            metavar="COPY",
        ),
    ]
    root: Annotated[str | None, Option(None, "The root digest that the dataset must have.", metavar="DIGEST")]
    delete: Annotated[bool, Option(False, "Also delete tars that are not part of the dataset.")]


class DuplicateChoices(TypedDict, total=False):
    """What counts as a duplicate, and what is compared."""

    root: Annotated[
        str | None,
        Option(None, "The root digest that the dataset must have; SHA-256 then proves every image.", metavar="DIGEST"),
    ]
    level: Annotated[
        DuplicateLevel | None,
        Option(
            None,
            "What counts as a duplicate: exact, identical bytes; re-encode, also re-encoded copies; edited, also filters, "
            "small crops and mirror images. Default: re-encode.",
            _COMPARE,
        ),
    ]
    method: Annotated[
        Literal["phash", "size"],
        Option(
            "phash",
            "How to compare: phash compares perceptual hashes; size compares width, height and file size, which proves "
            "nothing, allows no level, and is there for comparison with other figures.",
            _COMPARE,
        ),
    ]
    captions: Annotated[bool, Option(False, "Also count repeated captions and repeated sets of hashtags.", _COMPARE)]
    cache: Annotated[
        StrPath | None,
        Option(None, "Keep hashes in this folder or bucket, not in the dataset.", _COMPARE, metavar="DIR|URL"),
    ]


class AgainstChoices(TypedDict, total=False):
    """How two sets of images are compared."""

    level: Annotated[DuplicateLevel, Option("re-encode", "What counts as a duplicate.", _COMPARE)]
    cache: Annotated[
        StrPath | None,
        Option(None, "Keep hashes in this folder or bucket, not in the datasets.", _COMPARE, metavar="DIR|URL"),
    ]


class BenchChoices(OpenChoices, total=False):
    """What to measure, and for how long."""

    split: Annotated[
        str | None,
        Option(None, "The split to read. Default: train, or the first split if there is no train.", complete="split"),
    ]
    batch_size: Annotated[
        int | None,
        Option(None, "Samples per batch. Default: 64, or the size of the split if that is smaller.", least=1),
    ]
    threads: Annotated[int | None, Option(None, "Decoding threads. Default: one per core.", least=1)]
    seconds: Annotated[float, Option(3.0, "How long each measurement takes, in seconds.", least=0.001)]
    shuffle: Annotated[
        Literal["full", "block", "none"],
        Option("full", "How to shuffle: the whole split, blocks of it, or not at all."),
    ]
    pipeline: Annotated[
        Literal["clip", "resnet"] | None,
        Option(
            None,
            "Measure with the image transforms of a training recipe: clip (random crop of at least 0.9 of the area, bicubic, "
            "224 pixels) or resnet (random crop, 224 pixels, random mirroring).",
        ),
    ]
    transform: Annotated[
        str | None,
        Option(
            None, "Measure with your own function, one that a loader takes as image_transform.", metavar="MODULE:NAME"
        ),
    ]
    wanted: Annotated[
        float | None,
        Option(
            None,
            "Exit with code 1 if the rate is lower than this; the advice says how many threads this rate needs.",
            flag="--min",
            metavar="SAMPLES_PER_S",
        ),
    ]
    compare: Annotated[
        Sequence[Peer],
        Option(
            (),
            "Also measure other loaders in the same run: webdataset, datasets, dali, webshart, separated by commas.",
            metavar="PEER,...",
            complete="peers",
            read=parse_peers,
            shown="",
        ),
    ]
