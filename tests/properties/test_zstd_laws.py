"""Zstandard's frames: followed without decoding, in pieces of any size, whole exactly where they end."""

from __future__ import annotations

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wdstools.stores.zstd_frames import ZstdFrames, begins_frame

PAYLOADS = st.one_of(st.binary(max_size=400), st.builds(bytes, st.integers(0, 400_000)))
SKIPPED = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return SKIPPED
    size, check = draw(st.booleans()), draw(st.booleans())
    made = zstandard.ZstdCompressor(
        level=draw(st.sampled_from([1, 3, 19])), write_checksum=check, write_content_size=size
    )
    if draw(st.booleans()):
        return made.compress(draw(PAYLOADS))
    stream = made.compressobj()
    return b"".join(stream.compress(part) for part in draw(st.lists(PAYLOADS, max_size=3))) + stream.flush()


def whole(data: bytes, step: int) -> bool:
    followed = ZstdFrames("x")
    for at in range(0, len(data), step):
        followed.follow(data[at : at + step])
    return followed.whole


@given(st.lists(frames(), min_size=1, max_size=4), st.integers(1, 70_000), st.data())
def test_frames_are_whole_where_one_ends_and_nowhere_else(some: list[bytes], step: int, data: st.DataObject) -> None:
    stream = b"".join(some)
    assert begins_frame(stream)
    assert whole(stream, step)
    ends = {sum(map(len, some[:count])) for count in range(len(some) + 1)}
    cut = data.draw(st.integers(0, len(stream)))
    assert whole(stream[:cut], step) is (cut in ends)
