"""The options of ``scan``, ``pack`` and ``append``."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option, StrPath
from wdstools.units import parse_size

_SOURCE = "Source layout"
_SPLITS = "Splits and shards"
_IMAGES = "Images"
_SAME = "Duplicate images"
_RUN = "This run"

#: The default limit: images with more pixels are not decoded.
MAX_PIXELS = 50_000_000
ImageType = Literal["jpg", "png", "webp"]
DuplicateLevel = Literal["exact", "re-encode", "edited"]


class LayoutChoices(TypedDict, total=False):
    """How the files of a source form samples. Without any of these options, the layout is recognised."""

    recipe: Annotated[
        StrPath | None,
        Option(
            None,
            "The layout: a built-in one by its name, or a TOML file that describes one.",
            _SOURCE,
            metavar="NAME|FILE",
            complete="recipe",
        ),
    ]
    image: Annotated[
        str | None, Option(None, "The pattern of image paths, such as 'img/{split}/{label}/{id}.jpg'.", _SOURCE)
    ]
    caption: Annotated[
        str | None, Option(None, "The pattern of caption paths, such as 'txt/{label}/{id}.txt'.", _SOURCE)
    ]
    captions: Annotated[
        Literal["required", "optional", "none"] | None,
        Option(None, "Whether each image needs a caption. Default: required if the source has any captions.", _SOURCE),
    ]
    several_captions: Annotated[
        Literal["all", "first", "join"],
        Option(
            "all",
            "What to keep if an image has several captions: all (the first in txt, all in json), first, or join (one per line).",
            _SOURCE,
        ),
    ]
    path_column: Annotated[str | None, Option(None, "The table's column of image paths.", _SOURCE)]
    caption_column: Annotated[str | None, Option(None, "The table's column of captions.", _SOURCE)]
    label_column: Annotated[str | None, Option(None, "The table's column of labels.", _SOURCE)]
    split_column: Annotated[str | None, Option(None, "The table's column of splits.", _SOURCE)]
    key_column: Annotated[str | None, Option(None, "The table's column of ids.", _SOURCE)]
    ignore: Annotated[
        Sequence[str] | None,
        Option(None, "Ignore files or folders that match this pattern; may be repeated.", _SOURCE, metavar="PATTERN"),
    ]
    follow_links: Annotated[bool, Option(False, "Also follow links that lead out of the source.", _SOURCE)]
    name_encoding: Annotated[
        str | None,
        Option(None, "The encoding of names in a zip that are not UTF-8, such as shift_jis or gbk.", _SOURCE),
    ]
    members: Annotated[
        Sequence[str] | str | None,
        Option(
            None,
            "Pack only these members besides the image, such as txt,json,npy,mask.png; NAME=EXTENSION renames one.",
            _SOURCE,
        ),
    ]
    drop_members: Annotated[Sequence[str] | str | None, Option(None, "Leave out these members.", _SOURCE)]
    members_missing: Annotated[
        Literal["skip", "empty", "drop"] | None,
        Option(
            None,
            "What to do if some samples lack a member that others have: skip these samples, pack the member as empty, or "
            "drop the member from all samples. Default: skip.",
            _SOURCE,
        ),
    ]
    prefix_keys: Annotated[
        Literal["shard"] | None,
        Option(
            None,
            "shard: prefix every key with the name of its tar. Use this if keys start over in each shard.",
            _SOURCE,
        ),
    ]


class PackChoices(LayoutChoices, total=False):
    """How to pack a source. The same source and choices always produce the same bytes."""

    splits: Annotated[
        Sequence[str] | str | None,
        Option(
            None,
            "How to split: the name of one split, ratios (train=80,val=5,test=15), or list files (train=FILE, may be repeated).",
            _SPLITS,
            flag="--split",
        ),
    ]
    shard_samples: Annotated[
        int | None,
        Option(
            None,
            "Samples per shard, on average. Default: 10,000; in small splits, 1,000 for up to four shards.",
            _SPLITS,
            least=1,
        ),
    ]
    shard_bytes: Annotated[
        int | None,
        Option(
            None,
            "The approximate size of a shard, such as 256MiB or 1GB.",
            _SPLITS,
            metavar="SIZE",
            read=parse_size,
            least=1,
        ),
    ]
    shards: Annotated[int | None, Option(None, "The number of shards in each split.", _SPLITS, least=1, most=999_999)]
    like: Annotated[
        StrPath | None,
        Option(None, "Divide the samples into splits and shards as the dataset with this manifest does.", _SPLITS),
    ]
    seed: Annotated[int, Option(0, "The seed of the sample order. Default: 0.", _SPLITS, least=0, most=2**53 - 1)]
    name: Annotated[
        str | None, Option(None, "The dataset's name. Default: the name of the source.", _SPLITS, written=True)
    ]
    version: Annotated[
        int | None,
        Option(
            None,
            "The dataset's version, a whole number. Default: the version of the source if it is a dataset, otherwise 1.",
            _SPLITS,
            least=0,
            most=2**53 - 1,
        ),
    ]
    authenticated_ranges: Annotated[
        bool,
        Option(
            True, "Store a SHA-256 of each sample in the index, so that parts can be proved against forgers.", _SPLITS
        ),
    ]
    duplicates: Annotated[
        Literal["keep", "group", "drop"],
        Option(
            "keep",
            "What to do with duplicates: keep them; group: put all images of a group into the same split; drop: keep one "
            "image of each group (from test before val before train; with a caption before without; the smallest key).",
            _SAME,
        ),
    ]
    exclude_duplicates_of: Annotated[
        Sequence[str] | None,
        Option(
            None,
            "Leave out images that duplicate one of this dataset, folder or file of hashes, as level defines it; may be repeated.",
            _SAME,
            metavar="OTHER",
        ),
    ]
    level: Annotated[
        DuplicateLevel,
        Option(
            "exact",
            "What counts as a duplicate: exact, identical bytes; re-encode, also re-encoded copies; edited, also filters, "
            "small crops and mirror images.",
            _SAME,
        ),
    ]
    resplit: Annotated[
        bool,
        Option(False, "With duplicates group: allow images to move out of the splits that the source assigns.", _SAME),
    ]
    check: Annotated[
        Literal["header", "decode"],
        Option("decode", "How to check images: read only the header, or decode them.", _IMAGES),
    ]
    max_pixels: Annotated[int, Option(MAX_PIXELS, "Skip images with more pixels than this.", _IMAGES, least=1)]
    resize: Annotated[int | None, Option(None, "Resize images to this size, in pixels.", _IMAGES, least=1, most=65_500)]
    mode: Annotated[
        Literal["stretch", "crop", "pad", "keep"],
        Option(
            "stretch",
            "How to resize: stretch, crop or pad to a square, or keep the aspect ratio (resize is then the shorter side).",
            _IMAGES,
        ),
    ]
    quality: Annotated[int, Option(75, "The JPEG or WebP quality of re-encoded images.", _IMAGES, least=1, most=100)]
    convert: Annotated[ImageType | None, Option(None, "Re-encode images of other types to this type.", _IMAGES)]
    only: Annotated[ImageType | None, Option(None, "Leave out images of other types.", _IMAGES)]
    trailing: Annotated[
        Literal["keep", "cut", "skip"],
        Option(
            "keep",
            "What to do with bytes after the end of an image, which some phones write: keep them, cut them off "
            "(the image itself does not change), or skip the sample.",
            _IMAGES,
        ),
    ]
    on_error: Annotated[
        Literal["skip", "fail"], Option("skip", "Skip samples that cannot be packed, or fail at the first one.", _RUN)
    ]
    restart: Annotated[bool, Option(False, "Discard an unfinished pack.", _RUN)]


class AppendChoices(LayoutChoices, total=False):
    """How a source's files form samples, and where they go. Everything else is as the dataset was packed."""

    splits: Annotated[
        Sequence[str] | str | None,
        Option(
            None,
            "How to split: the name of one split, ratios (train=80,val=5,test=15), or list files (train=FILE, may be repeated). "
            "Default: as the dataset was split.",
            _SPLITS,
            flag="--split",
        ),
    ]
    shards: Annotated[
        int | None,
        Option(
            None,
            "Divide each split into this many shards. Old samples may move to other shards; the plan says how many.",
            _SPLITS,
            least=1,
            most=999_999,
        ),
    ]
    duplicates: Annotated[
        Literal["keep", "drop"] | None,
        Option(
            None,
            "What to do with duplicates: keep them; drop: leave out images that duplicate one of the dataset, or another new "
            "one. Default: as the dataset was packed.",
            _SAME,
        ),
    ]
    level: Annotated[
        DuplicateLevel | None, Option(None, "What counts as a duplicate. Default: as the dataset was packed.", _SAME)
    ]
    removed: Annotated[
        Literal["skip", "take"],
        Option("skip", "What to do with new samples whose keys were removed in an earlier version.", _SAME),
    ]
    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a source you trust; SHA-256 then proves every old byte "
            "that is written again.",
            metavar="DIGEST",
        ),
    ]
