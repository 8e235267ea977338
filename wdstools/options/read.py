"""The options of commands that read samples: how to open a dataset, and which samples to choose."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from wdstools.options.columns import parse_names
from wdstools.options.declare import Option, StrPath
from wdstools.units import parse_size

_REMOTE = "Reading remote shards"
_WHICH = "Sample selection"
#: The default size of a cache, in bytes and as help shows it.
_CACHE_BYTES, _CACHE_SIZE = 20 << 30, "20GiB"
#: Who must have signed the dataset, and how old it may be: shared by all commands that can trust a signature.
PUBLIC_KEY = Option(
    None,
    "Accept only a dataset that was signed with this public key (PEM); SHA-256 then proves it against forgers.",
    metavar="FILE",
)
AUTHORITIES = Option(
    None,
    "Accept only a dataset that was signed under a certificate of these authorities (PEM); SHA-256 then proves it against "
    "forgers.",
    metavar="FILE",
)
MIN_VERSION = Option(
    None,
    "Refuse a version older than this. A signature alone does not show whether a newer version exists.",
    least=0,
    metavar="N",
)


class OpenChoices(TypedDict, total=False):
    """Where a dataset's shards are, and how to read remote ones."""

    at: Annotated[StrPath | None, Option(None, "Where the shards are, if not next to the manifest.", metavar="WHERE")]
    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a source you trust; SHA-256 then proves everything that is read.",
            metavar="DIGEST",
        ),
    ]
    mirrors: Annotated[
        Sequence[StrPath],
        Option(
            (),
            "Another copy of the shards, used if a sample is damaged or cannot be read; may be repeated.",
            _REMOTE,
            flag="--mirror",
            metavar="URL",
        ),
    ]
    cache: Annotated[
        StrPath | None, Option(None, "Cache what is read from remote shards in this folder.", _REMOTE, metavar="DIR")
    ]
    cache_bytes: Annotated[
        int,
        Option(
            _CACHE_BYTES,
            "The maximum size of the cache.",
            _REMOTE,
            least=0,
            flag="--cache-size",
            metavar="SIZE",
            read=parse_size,
            shown=_CACHE_SIZE,
        ),
    ]


class ShownChoices(TypedDict, total=False):
    """What to show of a sample besides what is in the index."""

    columns: Annotated[
        Sequence[str],
        Option(
            (),
            "Also show these added columns, separated by commas; all shows every one.",
            metavar="A,B",
            read=parse_names,
            complete="fields",
        ),
    ]


class SelectChoices(TypedDict, total=False):
    """Which samples to choose: those that meet every given condition."""

    splits: Annotated[
        Sequence[str] | str | None,
        Option(
            None,
            "Only samples of this split; may be repeated.",
            _WHICH,
            flag="--split",
            metavar="NAME",
            complete="split",
        ),
    ]
    keys: Annotated[
        StrPath | None,
        Option(
            None, "Only samples whose keys are in this file, one per line; - is standard input.", _WHICH, metavar="FILE"
        ),
    ]
    where: Annotated[
        str | None,
        Option(
            None,
            "Only samples for which this condition is true, such as \"label == 'london' and width >= 300\".",
            _WHICH,
            metavar="EXPR",
            complete="where",
        ),
    ]
