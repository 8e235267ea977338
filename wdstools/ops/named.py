"""Which samples a list of keys means: those of its keys, and those that it calls as people do.

A name that is no key is one of a sample that it alone means, by the name that is not escaped (``cat/IMG 3``), with the extension of
a member, or with its split before it. Two samples are never meant by one name.
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
    """A selection whose keys are the dataset's; ``meant`` are names that are no keys, each with its key, ``missing`` what means no sample, or several."""

    selection: Selection
    meant: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def find_named(dataset: Dataset, selection: Selection, *, gone: Collection[str] = ()) -> Named:
    """Look for a selection's keys in the splits that it chooses; ``gone`` are keys that mean no other sample.

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
