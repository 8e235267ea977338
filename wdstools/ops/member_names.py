"""Find the member that a name means: its name in the tar, the name of its source file, split and key, or the key alone."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.arrow import one_chunk, to_list
from wdstools.formats.sample import split_member_name, unescape_key
from wdstools.reader.split import Split, get_split_or_sample
from wdstools.units import some_of

if TYPE_CHECKING:
    from wdstools.dataset import Dataset

#: The member that a key alone means.
_USUAL = "txt"


def read_member(dataset: Dataset, name: str) -> bytes:
    """The verified payload of a member, by its name in the tar (``london/123.jpg``) or another name for it.

    Other names are that of its source file, ``SPLIT/KEY.EXT``, an unescaped name (``a b.c.jpg``), or, for the caption, the
    key alone as ``ls`` lists it.
    """
    key, extension = parts_of_name(dataset, name)
    try:
        sample = get_split_or_sample(dataset, key)
    except KeyError:
        sample = get_split_or_sample(dataset, _find_key(dataset, key))
    if isinstance(sample, Split):
        raise UsageError("this is a split, not a sample", where=key)
    if extension is None and _USUAL not in sample:
        raise UsageError(
            "the name does not say which member", where=name, expected=", ".join(f"{key}.{member}" for member in sample)
        )
    member = extension or _USUAL
    if member not in sample:
        raise NotFoundError("no such member", code="member-missing", where=name, expected=", ".join(sample))
    return sample[member]


def parts_of_name(dataset: Dataset, name: str) -> tuple[str, str | None]:
    """The key and the extension in a name; no extension if the name does not end with one of the dataset's."""
    members = dataset.manifest.members
    split = split_member_name(name)
    if split is not None and (dataset.manifest.profile != "canonical" or split[1] in members):
        return split
    ends = {f".{member}": member for member in members} | ({".jpeg": "jpg"} if "jpg" in members else {})
    for end in sorted(ends, key=len, reverse=True):
        if name.lower().endswith(end) and len(name) > len(end):
            return name[: -len(end)], ends[end]
    return name, None


def _find_key(dataset: Dataset, given: str) -> str:
    """The key of the one sample that a name means: unescaped, with its split or more folders in front, or with fewer."""
    best, found = 0, set[str]()
    first, _, rest = given.partition("/")
    for split, entry in dataset.manifest.shards:
        names = {given, rest} if first == split and rest else {given}
        for key in to_list(one_chunk(dataset.index(entry).column("key"))):
            plain = unescape_key(key.encode()).decode("utf-8", "backslashreplace")
            same = max(_alike(plain, name) for name in names)
            if same and same >= best:
                found = {key} if same > best else found | {key}
                best = same
    hint = f"wdstools ls {quote(dataset.metadata.url)} SPLIT    lists the keys"
    if not found:
        raise NotFoundError("no such sample", code="sample-missing", where=given, hint=hint)
    if len(found) > 1:
        got = some_of(sorted(found))
        raise UsageError("several samples match this name", code="sample-ambiguous", where=given, got=got, hint=hint)
    return found.pop()


def _alike(key: str, name: str) -> int:
    """How much a name and a key have in common; 0 if neither is a suffix of the other."""
    if key == name:
        return 2 * len(key) + 1
    longer, shorter = (key, name) if len(key) > len(name) else (name, key)
    return len(shorter) if longer.endswith(f"/{shorter}") else 0
