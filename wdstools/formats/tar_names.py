"""What the name of a tar tells: whether it is one, how it is compressed, and what it is called without that. Pure."""

from __future__ import annotations

#: How a tar's name tells that it is compressed. Old systems write names in capitals, so case does not matter.
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
    """The encoding that a tar's name tells, such as ``tar.gz``; None if it is not that of a tar."""
    found = _suffix(path)
    return _ENCODINGS[found.lower()] if found else None


def is_compressed(path: str) -> bool:
    """Whether a tar's name tells that it is compressed; one in capitals is given its usual name in the same way."""
    return _suffix(path) not in ("", ".tar")


def tar_stem(path: str) -> str:
    """A tar's path without what tells that it is one; any other path as it is."""
    return path.removesuffix(_suffix(path))


def plain_name(path: str) -> str:
    """What a tar is called when it is unpacked."""
    return f"{tar_stem(path)}.tar" if _suffix(path) else path


def _suffix(path: str) -> str:
    end = path[-_LONGEST:].lower()
    if not end.endswith(_SUFFIXES):  # of a million names in a folder, nearly all
        return ""
    return path[-next(len(suffix) for suffix in _SUFFIXES if end.endswith(suffix)) :]
