"""The options of ``pack`` and ``scan``, as data: name, type with help, default."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

_SOURCE = "What the source is"
_SPLITS = "Splits and shards"
_IMAGES = "Images"
_SAME = "Images that are the same"
_RUN = "This run"


def _option(kind: Any, panel: str, text: str, *names: str) -> Any:
    return Annotated[kind, typer.Option(*names, help=text, rich_help_panel=panel)]


LAYOUT_OPTIONS = (
    ("recipe", _option(Optional[str], _SOURCE, "A layout by name, or a TOML file; recognised without it."), None),
    ("image", _option(Optional[str], _SOURCE, "Image paths, as 'img/{split}/{label}/{id}.jpg'."), None),
    ("caption", _option(Optional[str], _SOURCE, "Caption paths, as 'txt/{label}/{id}.txt'."), None),
    ("captions", _option(Optional[str], _SOURCE, "required, optional or none; the recipe says so without it."), None),
)

PACK_OPTIONS = (
    (
        "splits",
        _option(
            Optional[list[str]], _SPLITS,
            "One split's name, ratios (train=80,val=5,test=15), or a list file (train=FILE, repeated).", "--split",
        ),
        None,
    ),
    ("shard_samples", _option(int, _SPLITS, "Samples a shard, on average."), 10_000),
    ("shards", _option(Optional[int], _SPLITS, "Number of shards of each split."), None),
    ("like", _option(Optional[str], _SPLITS, "Divide as this manifest does."), None),
    ("seed", _option(int, _SPLITS, "Seed of the order."), 0),
    ("name", _option(Optional[str], _SPLITS, "The dataset's name."), None),
    ("version", _option(Optional[int], _SPLITS, "The dataset's version, a whole number."), None),
    ("authenticated_ranges", _option(bool, _SPLITS, "Keep a SHA-256 of each sample in the index, so that parts can be authenticated.", "--authenticated-ranges"), False),
    ("duplicates", _option(str, _SAME, "keep; group: no group of same images in two splits; drop: keep one of each (of test before val before train, the smallest key)."), "keep"),
    ("level", _option(str, _SAME, "What is the same: exact, re-encode or edited."), "exact"),
    ("resplit", _option(bool, _SAME, "Let group move images out of splits that the source gives.", "--resplit"), False),
    ("check", _option(str, _IMAGES, "How images are checked: header or decode."), "decode"),
    ("max_pixels", _option(int, _IMAGES, "Larger images are skipped."), 50_000_000),
    ("resize", _option(Optional[int], _IMAGES, "Side in pixels that images are brought to."), None),
    ("mode", _option(str, _IMAGES, "stretch, crop, pad or keep (the aspect; the shorter side becomes --resize)."), "stretch"),
    ("quality", _option(int, _IMAGES, "JPEG or WebP quality of re-encoded images."), 75),
    ("convert", _option(Optional[str], _IMAGES, "Re-encode images of other types to jpg, png or webp."), None),
    ("only", _option(Optional[str], _IMAGES, "Leave out images that are not jpg, png or webp."), None),
    ("on_error", _option(str, _RUN, "skip samples that cannot be packed, or fail at the first."), "skip"),
)  # fmt: skip
