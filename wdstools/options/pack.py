"""The options of ``scan``, ``pack`` and ``append``."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option, StrPath
from wdstools.units import parse_size

_SOURCE = "What the source is"
_SPLITS = "Splits and shards"
_IMAGES = "Images"
_SAME = "Images that are the same"
_RUN = "This run"

#: Images with more pixels are not decoded, wherever nothing else is asked for.
MAX_PIXELS = 50_000_000
ImageType = Literal["jpg", "png", "webp"]
DuplicateLevel = Literal["exact", "re-encode", "edited"]


class LayoutChoices(TypedDict, total=False):
    """How the files of a source make samples. Without any of these the layout is recognised."""

    recipe: Annotated[
        StrPath | None,
        Option(
            None,
            "A layout by its name, or a TOML file that describes one.",
            _SOURCE,
            metavar="NAME|FILE",
            complete="recipe",
        ),
    ]
    image: Annotated[str | None, Option(None, "Image paths, as 'img/{split}/{label}/{id}.jpg'.", _SOURCE)]
    caption: Annotated[str | None, Option(None, "Caption paths, as 'txt/{label}/{id}.txt'.", _SOURCE)]
    captions: Annotated[
        Literal["required", "optional", "none"] | None,
        Option(None, "Whether each image needs a caption; without it, required where there are any.", _SOURCE),
    ]
    several_captions: Annotated[
        Literal["all", "first", "join"],
        Option(
            "all",
            "Of several captions of an image: all (the first in txt, all in json), first, or join (a line each).",
            _SOURCE,
        ),
    ]
    path_column: Annotated[str | None, Option(None, "The column of a table that names the image.", _SOURCE)]
    caption_column: Annotated[str | None, Option(None, "The column of captions.", _SOURCE)]
    label_column: Annotated[str | None, Option(None, "The column of labels.", _SOURCE)]
    split_column: Annotated[str | None, Option(None, "The column of splits.", _SOURCE)]
    key_column: Annotated[str | None, Option(None, "The column of ids.", _SOURCE)]
    ignore: Annotated[
        Sequence[str] | None,
        Option(
            None, "Files or folders that are no part of the dataset: a pattern, repeated.", _SOURCE, metavar="PATTERN"
        ),
    ]
    follow_links: Annotated[bool, Option(False, "Follow links out of the source too.", _SOURCE)]
    name_encoding: Annotated[
        str | None, Option(None, "Encoding of names in a zip that are not UTF-8, as shift_jis or gbk.", _SOURCE)
    ]
    members: Annotated[
        Sequence[str] | str | None,
        Option(
            None, "Only these members beside the image (txt,json,npy,mask.png); NAME=EXTENSION renames one.", _SOURCE
        ),
    ]
    drop_members: Annotated[Sequence[str] | str | None, Option(None, "Leave these members out.", _SOURCE)]
    members_missing: Annotated[
        Literal["skip", "empty", "drop"] | None,
        Option(
            None,
            "Where samples lack a member that others have: skip these samples, pack it empty, or drop the member. "
            "Without it: skip.",
            _SOURCE,
        ),
    ]
    prefix_keys: Annotated[
        Literal["shard"] | None,
        Option(None, "shard: put the tar's name before every key, where keys restart in each shard.", _SOURCE),
    ]


class PackChoices(LayoutChoices, total=False):
    """What decides a pack, beside the source. The same source and choices give the same bytes."""

    splits: Annotated[
        Sequence[str] | str | None,
        Option(
            None,
            "One split's name, ratios (train=80,val=5,test=15), or a list file (train=FILE, repeated).",
            _SPLITS,
            flag="--split",
        ),
    ]
    shard_samples: Annotated[
        int | None,
        Option(
            None,
            "Samples in a shard, on average; without it 10,000, and in small splits 1,000 for up to four shards.",
            _SPLITS,
            least=1,
        ),
    ]
    shard_bytes: Annotated[
        int | None,
        Option(None, "Bytes in a shard, about: as 256MiB or 1GB.", _SPLITS, metavar="SIZE", read=parse_size, least=1),
    ]
    shards: Annotated[int | None, Option(None, "Number of shards of each split.", _SPLITS, least=1, most=999_999)]
    like: Annotated[StrPath | None, Option(None, "Divide as the dataset with this manifest is divided.", _SPLITS)]
    seed: Annotated[int, Option(0, "Seed of the order.", _SPLITS, least=0, most=2**53 - 1)]
    name: Annotated[str | None, Option(None, "The dataset's name.", _SPLITS, written=True)]
    version: Annotated[
        int | None, Option(None, "The dataset's version, a whole number.", _SPLITS, least=0, most=2**53 - 1)
    ]
    authenticated_ranges: Annotated[
        bool,
        Option(
            True, "Keep a SHA-256 of each sample in the index, so that parts can be proved against forgers.", _SPLITS
        ),
    ]
    duplicates: Annotated[
        Literal["keep", "group", "drop"],
        Option(
            "keep",
            "keep; group: no group of the same images is in two splits; drop: keep one of each group "
            "(from test before val before train, the one with the smallest key).",
            _SAME,
        ),
    ]
    exclude_duplicates_of: Annotated[
        Sequence[str] | None,
        Option(
            None,
            "Leave out images that are the same as one of this dataset, folder or file of hashes, at level; may be repeated.",
            _SAME,
            metavar="OTHER",
        ),
    ]
    level: Annotated[DuplicateLevel, Option("exact", "What counts as the same.", _SAME)]
    resplit: Annotated[bool, Option(False, "Let group move images out of the splits that the source gives.", _SAME)]
    check: Annotated[Literal["header", "decode"], Option("decode", "How to check images.", _IMAGES)]
    max_pixels: Annotated[int, Option(MAX_PIXELS, "Skip images with more pixels than this.", _IMAGES, least=1)]
    resize: Annotated[int | None, Option(None, "Resize images to this side, in pixels.", _IMAGES, least=1, most=65_500)]
    mode: Annotated[
        Literal["stretch", "crop", "pad", "keep"],
        Option(
            "stretch", "How to resize: stretch, crop, pad, or keep the aspect (resize is the shorter side).", _IMAGES
        ),
    ]
    quality: Annotated[int, Option(75, "JPEG or WebP quality of re-encoded images.", _IMAGES, least=1, most=100)]
    convert: Annotated[ImageType | None, Option(None, "Re-encode images of other types to this one.", _IMAGES)]
    only: Annotated[ImageType | None, Option(None, "Leave out images that are of another type.", _IMAGES)]
    trailing: Annotated[
        Literal["keep", "cut", "skip"],
        Option(
            "keep",
            "What to do with bytes behind the end of an image, as phones write them: keep them, cut them off "
            "(the image stays as it is), or skip the sample.",
            _IMAGES,
        ),
    ]
    on_error: Annotated[
        Literal["skip", "fail"], Option("skip", "Skip samples that cannot be packed, or fail at the first.", _RUN)
    ]
    restart: Annotated[bool, Option(False, "Throw away an unfinished pack.", _RUN)]


class AppendChoices(LayoutChoices, total=False):
    """How a source's files make samples, and where they go. All else is as the dataset was packed."""

    splits: Annotated[
        Sequence[str] | str | None,
        Option(
            None,
            "One split's name, ratios (train=80,val=5,test=15), or a list file (train=FILE, repeated). "
            "Without it: as the dataset was divided.",
            _SPLITS,
            flag="--split",
        ),
    ]
    shards: Annotated[
        int | None,
        Option(
            None,
            "Divide each split into this many shards: samples then move, as the plan says.",
            _SPLITS,
            least=1,
            most=999_999,
        ),
    ]
    duplicates: Annotated[
        Literal["keep", "drop"] | None,
        Option(
            None,
            "keep; drop: leave out images that are the same as one of the dataset, or as another new one. "
            "Without it: as the dataset was packed.",
            _SAME,
        ),
    ]
    level: Annotated[
        DuplicateLevel | None,
        Option(None, "What counts as the same; without it, what did when the dataset was packed.", _SAME),
    ]
    removed: Annotated[
        Literal["skip", "take"],
        Option("skip", "What to do with new samples whose keys an earlier version has removed.", _SAME),
    ]
    root: Annotated[
        str | None,
        Option(
            None,
            "The root digest that the dataset must have, from a place you trust: SHA-256 then proves every old byte "
            "that is written again.",
            metavar="DIGEST",
        ),
    ]
