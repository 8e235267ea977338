"""What a file name says about a tar: whether it is one, how it is compressed, and its name without that. No I/O."""

from __future__ import annotations

#: How a tar's name says that it is compressed. Old systems write names in capitals, so case does not matter.
_ENCODINGS = {
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".taz": "tar.gz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tbz": "tar.bz2",
    ".tb2": "tar.bz2",
    ".tz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
}
_SUFFIXES = tuple(_ENCODINGS)
_LONGEST = max(map(len, _SUFFIXES))


def encoding_of(path: str) -> str | None:
    """The encoding according to a tar's name, such as ``tar.gz``; None if the name is not that of a tar."""
    found = _suffix(path)
    return _ENCODINGS[found.lower()] if found else None


def is_compressed(path: str) -> bool:
    """Whether a tar has to be unpacked or renamed, judging by its name: it is compressed, or written in capitals."""
    return _suffix(path) not in ("", ".tar")


def tar_stem(path: str) -> str:
    """A tar's path without its extension; any other path unchanged."""
    return path.removesuffix(_suffix(path))


def plain_name(path: str) -> str:
    """The name of a tar once it is unpacked."""
    return f"{tar_stem(path)}.tar" if _suffix(path) else path


def _suffix(path: str) -> str:
    end = path[-_LONGEST:].lower()
    if not end.endswith(_SUFFIXES):  # nearly all of a million names in a folder
        return ""
    return path[-next(len(suffix) for suffix in _SUFFIXES if end.endswith(suffix)) :]
