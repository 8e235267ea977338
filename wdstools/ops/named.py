"""Find the samples that a list of keys means: by key, and by other names that people use.

A name that is not a key means the one sample that it fits: unescaped (``cat/IMG 3``), with the extension of a member, or
with its split in front. A name that fits two samples means none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wdstools.formats.arrow import one_chunk, to_list
from wdstools.formats.sample import unescape_key
from wdstools.ops.member_names import parts_of_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from wdstools.dataset import Dataset
    from wdstools.reader.select import Selection


@dataclass(frozen=True, slots=True)
class Named:
    """A selection with the dataset's own keys; ``meant`` are other names, each with its key.

    ``missing`` are names that mean no sample or several, ``ambiguous`` those that mean several.
    """

    selection: Selection
    meant: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def find_named(dataset: Dataset, selection: Selection, *, gone: Collection[str] = ()) -> Named:
    """Look for a selection's keys in its splits; ``gone`` are keys that must not be taken for other names.

    Raises UsageError (``split-missing``), and what reading the indexes raises.
    """
    given = selection.keys
    if given is None:
        return Named(selection)
    selection.check(dataset, by_members=True)
    wanted: dict[str, list[str]] = {}
    for name in given.difference(gone):
        for called in {name, parts_of_name(dataset, name)[0]}:
            wanted.setdefault(called, []).append(name)
    exact: set[str] = set()
    found: dict[str, set[str]] = {}
    for split, entry in dataset.manifest.shards:
        if selection.splits is not None and split not in selection.splits:
            continue
        for key in to_list(one_chunk(dataset.index(entry).column("key"))):
            if key in given:
                exact.add(key)
            plain = unescape_key(key.encode()).decode("utf-8", "backslashreplace")
            for called in {key, plain, f"{split}/{key}", f"{split}/{plain}"}:
                for name in wanted.get(called, ()):
                    found.setdefault(name, set()).add(key)
    left = sorted(given - exact)
    meant = tuple((name, min(found[name])) for name in left if len(found.get(name, ())) == 1)
    keys = given.difference(name for name, _ in meant).union(key for _, key in meant)
    return Named(
        replace(selection, keys=keys),
        meant,
        tuple(name for name in left if len(found.get(name, ())) != 1),
        tuple(name for name in left if len(found.get(name, ())) > 1),
    )
