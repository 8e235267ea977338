"""What a file or folder is for, by its name alone: the one list of extensions and words for all code that lists sources."""

from __future__ import annotations

import re

from wdstools.formats.image_types import TYPE_OF_EXTENSION

#: Extensions of captions, in the order in which they are tried.
TEXT_SUFFIXES = (".txt", ".caption", ".captions", ".text")
#: Extensions of the metadata that gallery downloaders write.
JSON_SUFFIXES = (".json", ".json.xz", ".supplemental-metadata.json")
#: Tables of rows; ``.json`` may be one too.
TABLE_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
#: Extensions of other files that may contain rows of captions, as in Flickr8k and Flickr30k.
LOOSE_TABLE_EXTENSIONS = (*TABLE_EXTENSIONS, ".json", ".token", ".txt")

#: Folders of images, and folders of captions, in the order in which they are tried.
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpg", "jpgs", "jpeg", "jpegs", "jpegimages", "photos", "pictures")
CAPTION_FOLDERS = (
    "captions", "caption", "txt", "text", "texts", "descriptions", "prompts", "metadata", "json", "annotations", "labels",
)  # fmt: skip

#: Parts of a longer name that mark a folder of captions: ``captions_en``, ``labels_train``.
_CAPTION_TOKENS = frozenset(("captions", "caption", "txt", "text", "texts", "descriptions", "prompts", "labels"))
_TOKENS_RE = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")

_OTHER_IMAGES = (
    "avif", "heic", "heif", "jp2", "j2k", "jpx", "jxl", "ppm", "pgm", "pbm", "pnm", "svg", "tga", "psd", "ico", "exr", "hdr",
    "dng", "cr2", "cr3", "nef", "arw", "raw", "mpo", "apng",
)  # fmt: skip
#: Metadata that belongs to one image.
METADATA_OF_ONE = ("xml", "yaml", "yml", "toml", "xmp")
_KINDS = {
    "images": (*TYPE_OF_EXTENSION, *_OTHER_IMAGES),
    "texts": ("txt", "caption", "captions", "text", "token", "vtt", "srt"),
    "tables": ("csv", "tsv", "jsonl", "ndjson", "parquet", "arrow", "feather", "xlsx", "xls", "ods", "db", "sqlite"),
    "metadata": ("json", "json.xz", "json.gz", "xml", "yaml", "yml", "toml", "xmp", "cls"),
    "arrays": ("npy", "npz", "pt", "pth", "pkl", "pickle", "safetensors", "mat", "h5", "hdf5", "bin", "pyd"),
    "sound and video": ("wav", "mp3", "flac", "ogg", "opus", "m4a", "mp4", "webm", "mov", "mkv", "avi", "gifv"),
    "archives": ("tar", "tgz", "gz", "bz2", "xz", "zst", "zip", "rar", "7z"),
}  # fmt: skip
_KIND_OF = {extension: kind for kind, extensions in _KINDS.items() for extension in extensions}
#: Documents that come with a dataset and are not part of it.
_PAPERS_RE = re.compile(
    r"(readme|license|licence|copying|copyright|notice|citation|changelog|sha256sums|md5sums|checksums|thumbs\.db|desktop\.ini)"
    r"([._-].*)?",
    re.IGNORECASE,
)
_VOLUME_RE = re.compile(r".*\.(?:(?:zip|7z|rar|tar|tgz|tar\.gz)\.?\d{2,3}|z\d\d|r\d\d|part\d+\.rar)", re.IGNORECASE)
_CLOUD_RE = re.compile(r"\.(.+)\.icloud")


def extension_of(name: str) -> str:
    """A name's extension, in lower case and without the dot; "" if it has none."""
    stem, dot, extension = name.rpartition(".")
    if dot and extension.lower() in ("xz", "gz") and stem.lower().endswith(".json"):
        return f"json.{extension.lower()}"
    return extension.lower() if dot else ""


def kind_of(name: str) -> str:
    """The kind of a file's content, by its extension: images, texts, tables, metadata, arrays, ...; "" for anything else."""
    return "" if is_paper(name) else _KIND_OF.get(extension_of(name), "archives" if is_volume(name) else "")


def is_paper(name: str) -> bool:
    """Whether a file comes with a dataset and is not part of it: README, LICENSE, lists of checksums."""
    return _PAPERS_RE.fullmatch(name) is not None


def is_image(name: str) -> bool:
    """Whether a file counts as an image."""
    stem, dot, extension = name.rpartition(".")
    return bool(stem and dot) and extension.lower() in TYPE_OF_EXTENSION


def caption_word(name: str) -> str | None:
    """The word for captions in a folder's name (``captions``, ``blip_captions``); None for any other folder."""
    lower = name.lower()
    if lower in CAPTION_FOLDERS:
        return lower
    return next((word for word in map(str.lower, _TOKENS_RE.split(name)) if word in _CAPTION_TOKENS), None)


def is_volume(name: str) -> bool:
    """Whether a file is a volume of a split archive."""
    return _VOLUME_RE.fullmatch(name) is not None


def cloud_name(name: str) -> str | None:
    """The file that a cloud drive's placeholder stands for; None if it is no placeholder."""
    match = _CLOUD_RE.fullmatch(name)
    return match[1] if match else None
