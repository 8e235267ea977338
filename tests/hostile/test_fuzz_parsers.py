"""Random bytes and damaged valid files into every parser: only errors of our own come out."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.city_pairs import tiny_jpeg
from tests.support.command import HANG_SECONDS
from tests.support.pictures import encoded
from tests.support.valid_files import a_gnu_tar, a_manifest, a_pax_tar, a_shard, a_zip, an_index
from wdstools import WdsError
from wdstools.checks.rebuild import rebuild_index
from wdstools.checks.stream import check_stream
from wdstools.formats.index import read_index, rows_digest
from wdstools.formats.manifest import dumps, loads
from wdstools.formats.sums import parse_sums, render_sums
from wdstools.formats.tar import parse_header, render_header
from wdstools.images.check import DamagedImageError
from wdstools.images.encoding import Encoding
from wdstools.images.resize import reencode
from wdstools.images.whole import ImageChecker
from wdstools.sources.tarscan import scan_tar
from wdstools.sources.zipscan import scan_zip
from wdstools.stores.compressed import plain_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

FUZZ = settings(max_examples=150, deadline=None)
#: A loop without end fails its own test, and leaves the others alone.
pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file with a few bytes changed, a part cut, doubled or filled."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(1, 12))
        change = draw(st.sampled_from(["byte", "bytes", "cut", "double", "end", "fill"]))
        if change == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif change == "bytes":
            data[at : at + size] = draw(st.binary(min_size=size, max_size=size))
        elif change == "cut":
            del data[at : at + size * 40]
        elif change == "double":
            data[at:at] = data[at : at + size * 40]
        elif change == "fill":
            data[at : at + size] = bytes((draw(st.sampled_from([0, 0xFF])),)) * size
        else:
            del data[at:]
    return bytes(data)


def own_errors(call: Callable[[], object]) -> None:
    with contextlib.suppress(WdsError, DamagedImageError):
        call()


HEADER = render_header(b"london/1.jpg", 1234, 0xFEED)


@FUZZ
@given(st.one_of(st.binary(max_size=600), st.binary(min_size=512, max_size=512), mutated(HEADER)))
def test_parse_header(block: bytes) -> None:
    with contextlib.suppress(WdsError):
        assert parse_header(block).size >= 0


TARS = st.one_of(st.binary(max_size=2000), mutated(a_shard()), mutated(a_pax_tar()), mutated(a_gnu_tar()))


@FUZZ
@given(TARS)
@example(render_header(b"x.jpg", -1, 0) + bytes(1024))
def test_scan_tar(data: bytes) -> None:
    in_file(data, lambda path: list(scan_tar(path)))


@pytest.mark.timeout(HANG_SECONDS, method="signal")
@FUZZ
@given(TARS)
def test_check_stream(data: bytes) -> None:
    result = check_stream([data], "x.tar")
    assert result.bytes == len(data)


@FUZZ
@given(TARS)
@example(render_header(b"x.cls", 11, 0) + b"99999999999" + bytes(501 + 10_240))
@example(render_header(b"x.cls", 6000, 0) + b"9" * 6000 + bytes(144 + 10_240))
@example(render_header(b"\xff" * 90 + b".jpg", 1, 0) + bytes(512 + 10_240))
def test_rebuild_index(data: bytes) -> None:
    own_errors(lambda: rebuild_index([data], path="x.tar", split="train", labels=("a", "b"), authenticated=False))


def in_file(data: bytes, call: Callable[[str], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x")
        with open(path, "wb") as file:
            file.write(data)
        own_errors(lambda: call(path))


def zip64_locator(at: int) -> bytes:
    locator = b"PK\6\7" + bytes(4) + at.to_bytes(8, "little") + b"\1\0\0\0"
    return locator + b"PK\5\6" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"


def extra_cut_short() -> bytes:
    entry = b"PK\1\2" + bytes(16) + b"\xff" * 8 + b"\1\0\x0c\0" + bytes(10) + b"\xff" * 4
    body = entry + b"n" + b"\1\0\x18\0" + bytes(8)
    return body + b"PK\5\6" + bytes(4) + b"\1\0\1\0" + len(body).to_bytes(4, "little") + bytes(6)


@FUZZ
@given(st.one_of(st.binary(max_size=200), mutated(a_zip()), mutated(a_zip(zip64=True))))
@example(zip64_locator(2**63))
@example(zip64_locator(2**64 - 1))
@example(extra_cut_short())
def test_scan_zip(data: bytes) -> None:
    in_file(data, lambda path: list(scan_zip(path)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@FUZZ
@given(st.one_of(st.binary(max_size=200), mutated(a_manifest())))
def test_manifest_loads(data: bytes) -> None:
    with contextlib.suppress(WdsError):
        assert dumps(loads(data)) == data


@FUZZ
@given(st.sampled_from(["dataset", "format", "labels", "members", "profile", "seed", "splits", "totals", "more"]), JSON)
def test_manifest_loads_with_a_field_of_any_kind(name: str, value: object) -> None:
    import json

    document = json.loads(a_manifest())
    for place in (document, document["dataset"], document["splits"], document["splits"]["train"][0]):
        kept = place.get(name)
        place[name] = value
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        own_errors(lambda text=text: loads(text.encode()))  # type: ignore[misc]
        place[name] = kept


@FUZZ
@given(st.one_of(st.binary(max_size=300), mutated(render_sums({"a/b": "0" * 64, "c": "f" * 64}))))
def test_parse_sums(text: bytes) -> None:
    own_errors(lambda: parse_sums(text))


@FUZZ
@given(st.one_of(st.binary(max_size=100), mutated(an_index())))
def test_read_index(data: bytes) -> None:
    own_errors(lambda: rows_digest(read_index(data)))


IMAGES = {
    "jpg": [
        tiny_jpeg(1),
        encoded("JPEG", progressive=True),
        encoded("JPEG", "CMYK"),
        encoded("JPEG", restart_marker_blocks=1),
    ],
    "png": [encoded("PNG", "RGBA"), encoded("PNG", "P")],
    "webp": [encoded("WEBP"), encoded("WEBP", lossless=True)],
    "gif": [encoded("GIF")],
    "bmp": [encoded("BMP")],
    "tiff": [encoded("TIFF"), encoded("TIFF", compression="tiff_lzw")],
}


@pytest.mark.parametrize("level", ["header", "decode"])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@FUZZ
@given(draw=st.data())
def test_image_check(kind: str, level: str, draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from(IMAGES[kind]).flatmap(mutated))
    own_errors(lambda: ImageChecker(level).check(data, 0, len(data), kind))


@pytest.mark.parametrize("kind", IMAGES)
@FUZZ
@given(draw=st.data())
def test_reencode(kind: str, draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from(IMAGES[kind]).flatmap(mutated))
    own_errors(lambda: reencode(data, Encoding(side=8, max_pixels=1 << 22)))


@FUZZ
@given(
    st.one_of(
        st.binary(max_size=100),
        st.binary(max_size=80).map(lambda b: b"\x1f\x8b\x08" + b),
        st.binary(max_size=80).map(lambda b: b"\x28\xb5\x2f\xfd" + b),
    )
)
def test_decompression(data: bytes) -> None:
    own_errors(lambda: list(plain_blocks(io.BytesIO(data), "x")))
