"""The options of ``mirror``, ``pull``, ``adopt`` and ``emit``."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option, StrPath
from wdstools.options.read import AUTHORITIES, MIN_VERSION, PUBLIC_KEY
from wdstools.units import parse_size

Digests = Literal["none", "xxh3", "all"]
Consumer = Literal["huggingface", "open_clip", "timm", "energon", "dali", "webshart", "croissant", "all"]
#: What ``doctor`` tries: the readers that ``emit`` writes files for, and those that need none.
Reader = Literal[Consumer, "webdataset", "tar", "bsdtar", "duckdb", "polars"]


_LIMIT_RATE = Option(
    None,
    "Transfer at most this many bytes per second on average, such as 10MB: for all threads together, but for each "
    "process separately.",
    least=1,
    metavar="SIZE",
    read=parse_size,
)


class SignChoices(TypedDict, total=False):
    """The key to sign with."""

    key: Annotated[
        StrPath | None, Option(None, "The private key (required): EC (P-256, P-384 or P-521), in PEM.", metavar="FILE")
    ]
    certificate: Annotated[
        StrPath | None,
        Option(
            None,
            "The key's certificate in PEM, followed by the certificates that lead to an authority; the signature then "
            "carries your name.",
            metavar="FILE",
        ),
    ]
    password_file: Annotated[
        StrPath | None, Option(None, "A file that contains the password of the key.", metavar="FILE")
    ]


class MirrorChoices(TypedDict, total=False):
    """What a mirror may replace and delete, and what else it copies."""

    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a source you trust; nothing is sent unless SHA-256 proves it.",
            metavar="DIGEST",
        ),
    ]
    replace: Annotated[
        bool,
        Option(
            False,
            "Replace another dataset at the destination. No dataset can be read there until this one is complete.",
        ),
    ]
    delete: Annotated[bool, Option(False, "Delete files at the destination that are not part of this dataset.")]
    allow_older: Annotated[bool, Option(False, "Also replace a newer version.")]
    emitted: Annotated[bool, Option(False, "Also copy the files that emit wrote for other readers.")]
    limit_rate: Annotated[int | None, _LIMIT_RATE]
    create: Annotated[bool, Option(False, "On the Hub: create the repository if it does not exist.")]
    private: Annotated[bool, Option(False, "With --create: make the repository private.")]


class PullChoices(TypedDict, total=False):
    """What to fetch, and which local shards to reuse."""

    root: Annotated[
        str | None, Option(None, "Accept only the dataset with this root digest, whoever serves it.", metavar="DIGEST")
    ]
    public_key: Annotated[StrPath | None, PUBLIC_KEY]
    authorities: Annotated[StrPath | None, AUTHORITIES]
    min_version: Annotated[int | None, MIN_VERSION]
    allow_older: Annotated[bool, Option(False, "Also pull a version that is older than the one at DIR or in a seed.")]
    gap: Annotated[
        int,
        Option(
            64 << 10,
            "Also fetch unneeded bytes between samples, up to this many in a row, to save a request.",
            least=0,
            metavar="SIZE",
            read=parse_size,
            shown="64KiB",
        ),
    ]
    seeds: Annotated[
        Sequence[StrPath],
        Option((), "Reuse what this local dataset already has; may be repeated.", flag="--seed", metavar="DATASET"),
    ]
    restart: Annotated[bool, Option(False, "Discard an unfinished pull of something else.")]
    limit_rate: Annotated[int | None, _LIMIT_RATE]


class AdoptChoices(TypedDict, total=False):
    """What the manifest says about tars made by other tools, and how thoroughly they are read."""

    name: Annotated[str, Option("", "The dataset's name.", written=True)]
    version: Annotated[int, Option(1, "The dataset's version, a whole number.", least=0, most=2**53 - 1)]
    split: Annotated[str | None, Option(None, "Put everything into this one split.")]
    split_from: Annotated[
        Literal["auto", "path", "timm", "energon", "huggingface", "one"],
        Option(
            "auto",
            "Where to find the splits: timm, energon and huggingface read the files of that tool; path reads the paths; auto "
            "tries all of these; one puts everything into train.",
        ),
    ]
    digests: Annotated[
        Digests,
        Option(
            "xxh3",
            "Which digests to compute: none reads only headers; xxh3 reads every byte; all adds sha256 and the digests that "
            "cloud stores use.",
        ),
    ]
    replace: Annotated[bool, Option(False, "Adopt the tars as they are now, replacing an earlier adoption.")]


class EmitChoices(TypedDict, total=False):
    """What to write into the files for other readers."""

    license_name: Annotated[
        str | None,
        Option(None, "The license named on the dataset card, such as cc-by-4.0.", flag="--license", written=True),
    ]
