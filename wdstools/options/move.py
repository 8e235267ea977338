"""The options of ``mirror``, ``pull``, ``adopt`` and ``emit``."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option, StrPath
from wdstools.options.read import AUTHORITIES, MIN_VERSION, PUBLIC_KEY
from wdstools.units import parse_size

Digests = Literal["none", "xxh3", "all"]
Consumer = Literal["huggingface", "open_clip", "timm", "energon", "dali", "webshart", "croissant", "all"]
Reader = Literal[
    "webdataset",
    "huggingface",
    "open_clip",
    "timm",
    "energon",
    "dali",
    "webshart",
    "croissant",
    "tar",
    "bsdtar",
    "duckdb",
    "polars",
    "all",
]


_LIMIT_RATE = Option(
    None,
    "Move at most so much a second on average, as 10MB: of all threads together, of each process.",
    least=1,
    metavar="SIZE",
    read=parse_size,
)


class SignChoices(TypedDict, total=False):
    """Who signs."""

    key: Annotated[StrPath | None, Option(None, "The private key: EC (P-256, P-384 or P-521), in PEM.", metavar="FILE")]
    certificate: Annotated[
        StrPath | None,
        Option(
            None,
            "The certificate of the key (PEM), and behind it those that lead to an authority: the signature then names you.",
            metavar="FILE",
        ),
    ]
    password_file: Annotated[
        StrPath | None, Option(None, "A file whose content is the password of the key.", metavar="FILE")
    ]


class MirrorChoices(TypedDict, total=False):
    """What a mirror may replace and delete, and what it takes along."""

    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a place you trust: nothing is sent that SHA-256 does not prove.",
            metavar="DIGEST",
        ),
    ]
    replace: Annotated[bool, Option(False, "Replace another dataset there; it is absent until this one is whole.")]
    delete: Annotated[bool, Option(False, "Delete files there that are not part of this dataset.")]
    allow_older: Annotated[bool, Option(False, "Replace a newer version too.")]
    emitted: Annotated[bool, Option(False, "Copy what emit wrote for other readers too.")]
    limit_rate: Annotated[int | None, _LIMIT_RATE]
    create: Annotated[bool, Option(False, "On the Hub: make the repository if there is none.")]
    private: Annotated[bool, Option(False, "With --create: a repository that only you see.")]


class PullChoices(TypedDict, total=False):
    """What is fetched, and what of it is here already."""

    root: Annotated[str | None, Option(None, "Refuse any dataset but this one, whoever serves it.", metavar="DIGEST")]
    public_key: Annotated[StrPath | None, PUBLIC_KEY]
    authorities: Annotated[StrPath | None, AUTHORITIES]
    min_version: Annotated[int | None, MIN_VERSION]
    allow_older: Annotated[
        bool, Option(False, "Pull a version that is older than the one that lies at DIR or in a seed, too.")
    ]
    gap: Annotated[
        int,
        Option(
            64 << 10,
            "Fetch holes up to this size too, to save a request.",
            least=0,
            metavar="SIZE",
            read=parse_size,
            shown="64KiB",
        ),
    ]
    seeds: Annotated[
        Sequence[StrPath],
        Option(
            (), "Take from this local dataset what it has already; may be repeated.", flag="--seed", metavar="DATASET"
        ),
    ]
    restart: Annotated[bool, Option(False, "Throw away an unfinished pull of something else.")]
    limit_rate: Annotated[int | None, _LIMIT_RATE]


class AdoptChoices(TypedDict, total=False):
    """What the manifest of tars that something else made says, and how thoroughly they are read."""

    name: Annotated[str, Option("", "The dataset's name.", written=True)]
    version: Annotated[int, Option(1, "The dataset's version, a whole number.", least=0, most=2**53 - 1)]
    split: Annotated[str | None, Option(None, "One split for everything.")]
    split_from: Annotated[
        Literal["auto", "path", "timm", "energon", "huggingface", "one"], Option("auto", "Where splits are written.")
    ]
    digests: Annotated[
        Digests,
        Option("xxh3", "none reads headers only; xxh3 reads every byte; all adds sha256 and the digests of clouds."),
    ]
    replace: Annotated[bool, Option(False, "Adopt the tars as they are now, in place of an older adoption.")]


class EmitChoices(TypedDict, total=False):
    """What the files for other readers say."""

    license_name: Annotated[
        str | None, Option(None, "The license for the card, as cc-by-4.0.", flag="--license", written=True)
    ]
