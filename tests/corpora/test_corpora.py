"""Files that nobody here made: what differs from other tools is known and explained, and no good file is called damaged."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.corpora.differences import decisions
from tests.corpora.explained import EXPLAINED
from tests.corpora.fetch import BINARIES, SDISTS, SOURCES, fetch
from tests.support.tools import missing

#: Files of each corpus, at least: fewer mean that unpacking them went wrong.
_FEWEST = {"Pillow": 700, "CPython": 10, "Go": 100, "libarchive": 30, "exiv2": 150, "leptonica": 200, "libzip": 100}


@pytest.mark.slow
def test_every_decision_that_differs_from_other_tools_is_explained() -> None:
    corpora = fetch()
    lacking = {*SDISTS, *BINARIES, *SOURCES} - set(corpora)
    if len(lacking) == len({*SDISTS, *BINARIES, *SOURCES}):
        missing("no corpus of others can be had here")
    found = list(decisions(corpora))
    counts = Counter(corpus for corpus, _ in found)
    assert {name: counts[name] for name in corpora if counts[name] < _FEWEST.get(name, 1)} == {}
    assert sum(not one.differs for _, one in found) > len(found) * 0.98
    assert {one for _, one in found if one.differs and one.kind not in EXPLAINED} == set()
