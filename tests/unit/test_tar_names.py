"""What the name of a tar tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdstools.formats.tar_names import encoding_of, is_compressed, plain_name, tar_stem
from wdstools.sources.beside_tars import beside_walked

NAMES = {
    "a.tar": "tar",
    "A.TAR": "tar",
    "train/a.b.tar.gz": "tar.gz",
    "a.tgz": "tar.gz",
    "a.TAR.zst": "tar.zst",
    "a.tbz2": "tar.bz2",
    "a.txz": "tar.xz",
}


@pytest.mark.parametrize(("name", "encoding"), NAMES.items())
def test_the_name_of_a_tar_tells_how_it_is_compressed(name: str, encoding: str) -> None:
    assert encoding_of(name) == encoding
    assert is_compressed(name) == (not name.endswith(".tar"))  # one in capitals is given its usual name like the others
    assert plain_name(name) == f"{tar_stem(name)}.tar"
    assert name.startswith(tar_stem(name))


@pytest.mark.parametrize("name", ["tar", "a.tar/b", "a.gz", "a.tar.idx", "a.tar\n", "", "a.zst"])
def test_other_names_tell_nothing(name: str) -> None:
    assert encoding_of(name) is None
    assert not is_compressed(name)
    assert plain_name(name) == tar_stem(name) == name


@given(st.text(max_size=12), st.sampled_from(sorted(NAMES)))
def test_what_stands_before_does_not_matter(folder: str, name: str) -> None:
    assert encoding_of(folder + name) == encoding_of(name)
    assert tar_stem(folder + name) == folder + tar_stem(name)


def test_a_file_describes_a_tar_when_it_has_its_whole_name() -> None:
    names = ["part.001.tar", "part.001.json", "part.001.tar.idx", "part.001_stats.json", "part.jpg", "part.002.json"]
    found = beside_walked([("", names, 0)], (), own=False, is_file=lambda _: True)
    assert [skip.path for skip in found.skips] == ["part.002.json", "part.jpg"]
