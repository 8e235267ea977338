"""The options of commands that read samples: how a dataset is opened, and which samples are chosen."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from wdstools.options.columns import parse_names
from wdstools.options.declare import Option, StrPath
from wdstools.units import parse_size

_REMOTE = "Reading remote shards"
_WHICH = "Which samples"
#: How much a cache may hold, in bytes and as people write it.
_CACHE_BYTES, _CACHE_SIZE = 20 << 30, "20GiB"
#: Whose dataset it must be, and how old it may be: of everything that takes a signature for an anchor.
PUBLIC_KEY = Option(
    None, "Refuse what this key (PEM) has not signed: SHA-256 then proves it against forgers.", metavar="FILE"
)
AUTHORITIES = Option(
    None,
    "Refuse what was not signed under a certificate of these authorities (PEM): SHA-256 then proves it against forgers.",
    metavar="FILE",
)
MIN_VERSION = Option(
    None,
    "Refuse a version older than this: a signature does not tell that a newer version was signed.",
    least=0,
    metavar="N",
)


class OpenChoices(TypedDict, total=False):
    """Where a dataset's shards are, and how remote ones are read."""

    at: Annotated[StrPath | None, Option(None, "Where the shards are, if not beside the manifest.", metavar="WHERE")]
    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a place you trust: SHA-256 then proves what is read.",
            metavar="DIGEST",
        ),
    ]
    mirrors: Annotated[
        Sequence[StrPath],
        Option(
            (),
            "Another copy of the shards, read where a sample is damaged or cannot be read; may be repeated.",
            _REMOTE,
            flag="--mirror",
            metavar="URL",
        ),
    ]
    cache: Annotated[
        StrPath | None, Option(None, "Keep what was read of remote shards in this folder.", _REMOTE, metavar="DIR")
    ]
    cache_bytes: Annotated[
        int,
        Option(
            _CACHE_BYTES,
            "How much the cache may hold.",
            _REMOTE,
            least=0,
            flag="--cache-size",
            metavar="SIZE",
            read=parse_size,
            shown=_CACHE_SIZE,
        ),
    ]


class ShownChoices(TypedDict, total=False):
    """What is shown of a sample beside what the index says."""

    columns: Annotated[
        Sequence[str],
        Option(
            (),
            "Show the values of these added columns, too, with commas between; all shows every one.",
            metavar="A,B",
            read=parse_names,
            complete="fields",
        ),
    ]


class SelectChoices(TypedDict, total=False):
    """Which samples: those for which everything holds that is given."""

    splits: Annotated[
        Sequence[str] | str | None,
        Option(
            None, "Samples of this split; may be repeated.", _WHICH, flag="--split", metavar="NAME", complete="split"
        ),
    ]
    keys: Annotated[
        StrPath | None,
        Option(
            None, "Samples whose keys are in this file, one on each line; - is standard input.", _WHICH, metavar="FILE"
        ),
    ]
    where: Annotated[
        str | None,
        Option(
            None,
            "Samples for which this is true, as \"label == 'london' and width >= 300\".",
            _WHICH,
            metavar="EXPR",
            complete="where",
        ),
    ]
