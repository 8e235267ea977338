"""Hashes equal imagehash's, the search misses nothing, and groups do not depend on order."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tests.support.came import came
from tests.support.lookalikes import colours, components, fingerprints, gray, however_few, jpeg, scene
from tests.support.pictures import noise, saved
from wdstools.dedup import bands, equal, few, forest, groups, hamming, sorted_bands
from wdstools.dedup.across import match
from wdstools.dedup.candidates import Outlines, candidates
from wdstools.dedup.compare import MEMBERS_AT_ONCE, Comparison
from wdstools.dedup.groups import UNDECIDED, Fingerprints, Turned, group
from wdstools.dedup.hamming import link
from wdstools.dedup.levels import LEVELS, NEAR_CHROMA, NEAR_LOCAL
from wdstools.dedup.parts import Alone, Codes, SearchTask, linked, ranges_for, search_part
from wdstools.dedup.phash import phash
from wdstools.errors import UsageError
from wdstools.executors.shared import SharedValues
from wdstools.images import luma
from wdstools.images.check import DamagedImageError
from wdstools.images.luma import check_pillow, luma_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.dedup.levels import Level

Words = np.ndarray[Any, np.dtype[np.uint64]]


def _shapes() -> list[Image.Image]:
    flat = [Image.new("RGB", (40, 30), (level, level, level)) for level in (0, 1, 128, 255)]
    halves = np.zeros((64, 64), np.uint8)
    halves[:, 32:] = 255
    checks = np.kron(np.indices((8, 8)).sum(axis=0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)
    return [*flat, Image.fromarray(halves), Image.fromarray(halves.T.copy()), Image.fromarray(checks)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 200))
@example(0, 1, 1)
@example(0, 300, 620)
def test_hashes_are_those_of_imagehash_bit_for_bit(seed: int, width: int, height: int) -> None:
    image = Image.fromarray(noise(width, height, seed=seed))
    _assert_as_imagehash(saved(image, "PNG"), image)


@pytest.mark.parametrize("number", range(len(_shapes())))
def test_flat_and_symmetric_images_whose_coefficients_tie_hash_as_imagehash_hashes_them(number: int) -> None:
    image = _shapes()[number]
    _assert_as_imagehash(saved(image, "PNG"), image)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(120, 90), (90, 120), (100, 100), (33, 700)])
def test_every_mode_and_shape_hashes_as_imagehash_hashes_it(mode: str, size: tuple[int, int]) -> None:
    picture = scene(3, *size)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        image = picture.convert(mode)
    data = saved(image, "JPEG" if mode == "CMYK" else "PNG")
    with Image.open(io.BytesIO(data)) as opened:
        _assert_as_imagehash(data, opened)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 20}]
)
def test_every_kind_of_jpeg_hashes_as_imagehash_hashes_it(options: dict[str, Any]) -> None:
    for size in ((300, 300), (301, 203), (203, 301)):
        data = saved(scene(5, *size), "JPEG", **options)
        _assert_as_imagehash(data, Image.open(io.BytesIO(data)))


def _assert_as_imagehash(data: bytes, image: Image.Image) -> None:
    lumas = luma_images(data, (32, 64))
    for size, small in zip((8, 16), lumas, strict=True):
        found, mirrored = phash(small[None], size)
        assert found[0].tobytes().hex() == str(imagehash.phash(image, hash_size=size))
        turned = Image.fromarray(np.ascontiguousarray(small[:, ::-1]))
        assert mirrored[0].tobytes().hex() == str(imagehash.phash(turned, hash_size=size))


def test_a_pillow_with_other_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_pillow.__wrapped__()
    pixels = luma.by_pillow(Image.new("RGB", (9, 9), "red"), (32,))
    monkeypatch.setattr(luma, "by_pillow", lambda *_: pixels)
    with pytest.raises(UsageError) as refused:
        check_pillow.__wrapped__()
    assert refused.value.code == "pillow-differs"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 200), st.booleans())
@example(0, 1, 1, False)
@example(0, 700, 33, False)
def test_the_compiled_lumas_are_those_of_pillow(seed: int, wide: int, high: int, in_gray: bool) -> None:
    pixels = noise(max(wide, high), min(wide, high), seed=seed)
    image = Image.fromarray(pixels).convert("L" if in_gray else "RGB")
    given_pixels = np.asarray(image).reshape(image.height, image.width, -1)
    for mine, pillows in came(zip(luma.compiled(given_pixels, (32, 64)), luma.by_pillow(image, (32, 64)), strict=True)):
        assert np.array_equal(mine, pillows)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3, 4]))
@example(0, 1, 1, 3)
@example(0, 3, 700, 3)
def test_colours_are_the_rounded_means_of_cells(seed: int, width: int, height: int, channels: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    expected = np.full((16, 16, 4), 255, np.uint8)
    for row in range(16):
        top = min(row * height // 16, height - 1)
        lines = pixels[top : max((row + 1) * height // 16, top + 1)]
        for column in range(16):
            left = min(column * width // 16, width - 1)
            cell = lines[:, left : max((column + 1) * width // 16, left + 1)].reshape(-1, channels)
            sums = cell.sum(axis=0, dtype=np.int64)
            expected[row, column, : max(3, channels)] = (sums + len(cell) // 2) // len(cell)
    assert np.array_equal(luma._cells(pixels, 16), expected)


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"text"])
def test_an_image_that_cannot_be_decoded_is_refused(damage: Any) -> None:
    with pytest.raises(DamagedImageError):
        luma_images(damage(jpeg(scene(1))), (32,))


def _near_codes(seed: int, count: int, words: int, most: int) -> Words:
    """Codes a few bits apart from a few centres, so that many are near one another."""
    draw = np.random.default_rng(seed)
    centres = draw.integers(0, 2**63, (max(1, count // 3), words), np.uint64)
    codes = centres[draw.integers(0, len(centres), count)].copy()
    for row in range(count):
        for word in range(words):
            for bit in draw.integers(0, 64, draw.integers(0, most + 1)):
                codes[row, word] ^= np.uint64(1) << np.uint64(bit)
    return codes


def _relation(a: Words, b: Words, limits: tuple[int, int]) -> Any:
    bits = np.bitwise_count(a[:, None, :] ^ b[None])
    return (bits[..., 0] <= limits[0]) & (bits[..., 1:].sum(axis=-1) <= limits[1])


@pytest.mark.slow
def test_numbers_of_rows_beyond_32_bits_link_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(5).integers(0, 2**62, (3000, 5), np.uint64)
    words[1::3] = words[::3] ^ np.uint64(1 << 9)
    small = link(words, (10, 40), words[::-1].copy())
    monkeypatch.setattr(forest, "_MOST_32_BITS", 0)
    large = link(words, (10, 40), words[::-1].copy())
    assert (small.dtype, large.dtype) == (np.dtype(np.int32), np.dtype(np.int64))
    assert small.tolist() == large.tolist()
    assert len(set(small.tolist())) <= 2000


@pytest.mark.parametrize("limit", [4, 8, 10])
@pytest.mark.parametrize("mirrors", [False, True])
def test_the_bands_of_a_million_codes_miss_no_pair(limit: int, mirrors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few codes need no radius; with the bands of many, pairs at the limit are found whichever bits differ."""
    planned = bands.plan_bands(1_000_000, limit)
    assert max(band.radius for band in planned) > 0
    monkeypatch.setattr(hamming, "plan_bands", lambda *_: planned)
    draw = np.random.default_rng(limit)
    codes = draw.integers(0, 2**63, (2000, 1), np.uint64)
    apart = codes.copy()
    for row in range(len(codes)):
        for bit in draw.choice(64, limit + row % 2, replace=False):
            apart[row] ^= np.uint64(1) << np.uint64(bit)
    if mirrors:
        mirrored = draw.permutation(apart)
        near = _relation(codes, codes, (limit, 0)) | _relation(codes, mirrored, (limit, 0))
    else:
        codes, mirrored = draw.permutation(np.concatenate((codes, apart))), None
        near = _relation(codes, codes, (limit, 0))
    assert link(codes, (limit, 0), mirrored).tolist() == components(near | near.T)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 150), st.integers(0, 24), st.integers(0, 60), st.booleans(), st.booleans()
)
def test_the_search_links_exactly_what_brute_force_links(
    seed: int, count: int, limit: int, rest: int, mirrors: bool, single: bool
) -> None:
    codes = _near_codes(seed, count, 1 if single else 3, limit)
    mirrored = np.random.default_rng(seed).permutation(codes) ^ np.uint64(5) if mirrors else None
    near = _relation(codes, codes, (limit, rest))
    if mirrored is not None:
        near |= _relation(codes, mirrored, (limit, rest))
    expected = components(near)
    assert link(codes, (limit, rest), mirrored).tolist() == expected
    assert few.link(codes, (limit, rest), mirrored).tolist() == expected
    if mirrored is None and limit < 24:
        takes = np.random.default_rng(seed).integers(0, 4, count) > 0
        for some in (None, takes):
            found, loops = sorted_bands.link(codes, (limit, rest), some), link(codes, (limit, rest), takes=some)
            assert found is not None
            assert found.tolist() == loops.tolist()


def test_codes_of_which_too_many_are_equal_in_a_band_are_searched_by_compiled_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = _near_codes(3, 300, 3, 2)
    codes[:100, 0] = np.arange(100, dtype=np.uint64) << np.uint64(40)
    expected = link(codes, (2, 10)).tolist()
    for most, alone in ((1 << 14, True), (200, False)):
        monkeypatch.setattr(few, "FEW_CODES", most)
        assert sorted_bands.suits(len(codes), 2)
        assert (sorted_bands.link(codes, (2, 10)) is not None) == alone
        assert linked(codes, (2, 10), None, Alone()).tolist() == expected
        assert linked(codes, (2, 10), None, Alone(3)).tolist() == expected


class _Shuffled(Alone):
    """Many ranges, searched and told in an order of their own, some of them twice, each by a worker of its own."""

    def __init__(self, ranges: int, seed: int) -> None:
        super().__init__(ranges)
        self._draw = np.random.default_rng(seed)
        self.searched = 0

    def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[np.ndarray[Any, Any]]:
        held = list(tasks)
        assert len(held) == count
        for at in self._draw.permutation(len(held)).tolist() + self._draw.integers(0, len(held), 2).tolist():
            self.searched += 1
            yield search_part(pickle.loads(pickle.dumps(held[at])), lambda _: None)  # noqa: S301  our own

    def compare(self, tasks: Iterable[Comparison], count: int) -> Iterator[tuple[int, Any]]:
        held = list(super().compare(tasks, count))
        return iter([held[at] for at in self._draw.permutation(len(held)).tolist()])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 150), st.integers(0, 12), st.integers(0, 60), st.booleans(),
    st.sampled_from([2, 7, 64]),
)  # fmt: skip
@example(1, 150, 10, 60, True, 64)
def test_ranges_link_what_one_pass_links_in_any_order(
    seed: int, count: int, limit: int, rest: int, mirrors: bool, ranges: int
) -> None:
    codes = _near_codes(seed, count, 3, limit)
    mirrored = np.random.default_rng(seed).permutation(codes) ^ np.uint64(5) if mirrors else None
    workers = _Shuffled(ranges, seed)
    with however_few():
        found = linked(codes, (limit, rest), mirrored, workers)
    assert found.tolist() == link(codes, (limit, rest), mirrored).tolist()
    assert workers.searched > ranges or count < 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.integers(1, 3), st.booleans(), st.sampled_from([2, 24]))
def test_equal_codes_are_those_of_sorting_them_however_small_the_table_is(
    seed: int, count: int, words: int, mirrors: bool, bits: int
) -> None:
    draw = np.random.default_rng(seed)
    codes, mirrored = draw.integers(0, 3, (2, count, words), np.uint64)
    takes = draw.integers(0, 4, count) > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equal, "_BITS_AT_ONCE", bits)
        patch.setattr(forest, "_MANY", -1)
        found = forest.equal_codes(codes, mirrored if mirrors else None, takes).tolist()
    seen: dict[bytes, int] = {}
    said = [codes[row].tobytes() + (mirrored[row].tobytes() if mirrors else b"") for row in range(count)]
    assert found == [seen.setdefault(said[row], row) if takes[row] else row for row in range(count)]
    assert forest.equal_codes(codes, mirrored if mirrors else None, takes).tolist() == found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 150), st.sampled_from([1, 2, 7, 64]))
@example(3, 150, 64)
def test_whoever_is_no_candidate_is_like_no_other(seed: int, count: int, ranges: int) -> None:
    """Found by 8 bytes of each image; which of them really are alike is not asked here."""
    codes, draw = _near_codes(seed, count, 2, 3), np.random.default_rng(seed)
    equals = draw.integers(0, max(1, 2 * count), (2, count), np.uint64)
    hashed = draw.integers(0, 8, count) > 0
    near = _relation(codes[:, :1], codes[:, :1], (LEVELS[0].phash, 0)) & hashed & hashed[:, None]
    near |= (equals[:, :, None] == equals[:, None]).any(axis=0)
    np.fill_diagonal(near, val=False)
    outlines = Outlines(tuple(equals), np.ascontiguousarray(codes[:, 0]), hashed)
    with however_few():
        found = candidates(outlines, LEVELS[0], _Shuffled(ranges, seed))
    assert found.tolist() == np.flatnonzero(near.any(axis=0)).tolist()


@pytest.mark.parametrize("ranges", [1, 7, 64])
@pytest.mark.parametrize("number", [0, 1])
def test_candidates_are_grouped_as_all_images_are(number: int, ranges: int) -> None:
    prints = fingerprints(_family((1, 2, 3)))
    levels, category = LEVELS[: number + 1], np.arange(len(prints.exact)) % 3
    hashed = ~np.isnan(prints.deviation)
    outlines = Outlines((prints.exact[:, 0].copy(),), prints.words[:, 0].copy(), hashed, prints if number else None)
    with however_few():
        rows = candidates(outlines, levels[-1], _Shuffled(ranges, ranges))
    assert 0 < len(rows) < len(hashed)
    chosen = Fingerprints(
        prints.exact[rows],
        prints.words[rows],
        prints.mirrored[rows],
        prints.deviation[rows],
        lambda at: prints.looks(rows[at]),
    )
    some = group(chosen, levels, category[rows])
    for one, other in came(zip(group(prints, levels, category), some, strict=True)):
        alone = np.delete(np.arange(len(hashed)), rows)
        assert one.leader[rows].tolist() == rows[other.leader].tolist()
        assert one.component[rows].tolist() == rows[other.component].tolist()
        assert one.near[rows].tolist() == other.near.tolist()
        assert one.leader[alone].tolist() == one.component[alone].tolist() == alone.tolist()
        assert one.near[alone].tolist() == (1 << category[alone]).tolist()


@pytest.mark.parametrize("limit", [2, 10])
def test_ranges_send_back_less_than_an_edge_a_code_where_thousands_are_alike(limit: int) -> None:
    draw = np.random.default_rng(limit)
    codes = np.repeat(draw.integers(0, 2**63, (1, 2), np.uint64), 2000, axis=0)
    codes[:, 1] ^= np.arange(2000, dtype=np.uint64) & np.uint64(7)
    codes[:, 0] ^= np.uint64(1) << draw.integers(0, 64, 2000).astype(np.uint64)
    sizes: list[int] = []

    class Weighed(Alone):
        def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[np.ndarray[Any, Any]]:
            for edges in super().search(tasks, count):
                sizes.append(len(edges))
                yield edges

    with however_few():
        found = linked(codes, (limit, 8), None, Weighed(7))
    assert found.tolist() == link(codes, (limit, 8)).tolist()
    assert sizes
    assert 0 < max(sizes) < len(np.unique(codes, axis=0))


@pytest.mark.parametrize(("seconds", "jobs", "ranges"), [
    (0.5, 8, 1), (5.0, 8, 5), (400.0, 8, 160), (400.0, 100, 400), (90_000.0, 8, 1500),
])  # fmt: skip
def test_a_band_is_cut_into_twenty_ranges_a_worker_of_a_second_to_a_minute(
    seconds: float, jobs: int, ranges: int
) -> None:
    assert ranges_for(seconds, jobs) == ranges


@pytest.mark.parametrize("limit", [2, 4, 8, 10])
def test_the_search_is_exact_where_thousands_of_codes_are_alike(limit: int) -> None:
    """Buckets so full that codes of one tree are passed over."""
    draw = np.random.default_rng(limit)
    codes = draw.integers(0, 2**63, (4000, 2), np.uint64)
    codes[:2500, 0] = codes[0, 0]
    for _ in range(limit):
        codes[:2500, 0] ^= np.uint64(1) << draw.integers(0, 64, 2500).astype(np.uint64)
    codes[:, 1] = draw.integers(0, 3, 4000).astype(np.uint64) * np.uint64(2**40 - 1)
    codes[2400:2500] = codes[0]
    expected = components(_relation(codes, codes, (limit, 8)))
    assert link(codes, (limit, 8)).tolist() == expected
    assert few.link(codes, (limit, 8), None).tolist() == expected


def _family(seeds: tuple[int, ...]) -> list[Image.Image]:
    """Some pictures, each with lookalikes at every level, a mirror image and a chain of ever brighter ones."""
    images: list[Image.Image] = []
    for seed in seeds:
        picture = scene(seed)
        brighter = [ImageEnhance.Brightness(picture).enhance(1 + step / 4) for step in range(1, 4)]
        images += [picture, Image.open(io.BytesIO(jpeg(picture, 60))).convert("RGB")]
        images += [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), *brighter, scene(seed + 1000)]
    return [*images, Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), (250, 250, 250))]


def _slow(images: list[Image.Image], number: int) -> tuple[list[int], list[int]]:
    """Leaders and components by comparing everything with everything."""
    level, count = LEVELS[number], len(images)
    prints = fingerprints(images)
    luma = np.array([gray(image, 32) for image in images]).reshape(count, -1).astype(np.float64)
    turned = luma.reshape(count, 32, 32)[:, :, ::-1].reshape(count, -1)
    cells = colours(images).reshape(count, 16, 16, 4)[..., :3].astype(np.float64)

    def differ_locally(a: int, b: int, pixels: Any, local: float, chroma: float) -> bool:
        apart = (luma[a] - pixels[b]).reshape(32, 32)
        blocks = apart[:-1, :-1] + apart[1:, :-1] + apart[:-1, 1:] + apart[1:, 1:]
        colour = cells[a] - (cells[b] if pixels is luma else cells[b][:, ::-1])
        far = np.abs(colour - colour.mean(axis=-1, keepdims=True)).max()
        largest = max(np.abs(blocks).max() / 4, np.abs(apart).max() * 2 / 3)
        return bool(largest > local or round(3 * far) > 3 * chroma)

    def same(a: int, b: int, words: Words, pixels: Any) -> bool:
        near = _relation(prints.words[a : a + 1], words[b : b + 1], (level.phash, level.phash16))[0, 0]
        low = prints.low_information[a] or prints.low_information[b]
        difference = np.abs(luma[a] - pixels[b]).mean()
        if low or not near:
            return bool(near and difference <= 1 and not differ_locally(a, b, pixels, NEAR_LOCAL, NEAR_CHROMA))
        if differ_locally(a, b, pixels, level.local, level.chroma):
            return False
        flat = luma[a].std() * pixels[b].std() == 0
        correlation = 0 if flat else np.corrcoef(luma[a], pixels[b])[0, 1]
        return bool(difference <= level.difference and correlation > level.correlation)

    near = np.zeros((count, count), bool)
    for a in range(count):
        for b in range(a):
            near[a, b] = same(a, b, prints.words, luma)
            if level.flips:
                near[a, b] |= same(a, b, prints.mirrored, turned) or same(b, a, prints.mirrored, turned)
    before = _slow(images, number - 1)[0] if number else list(range(count))
    leaders: list[int] = []
    for row in range(count):
        if before[row] != row:
            leaders.append(leaders[before[row]])
        else:
            leaders.append(next((at for at in range(row) if leaders[at] == at and near[row, at]), row))
    return leaders, components(near)


@pytest.mark.parametrize("number", [0, 1])
@settings(max_examples=10, deadline=None)
@given(seeds=st.lists(st.integers(0, 500), min_size=1, max_size=4, unique=True).map(tuple))
def test_groups_are_those_of_comparing_everything(number: int, seeds: tuple[int, ...]) -> None:
    images = _family(seeds)
    found = group(fingerprints(images), LEVELS)[number + 1]
    leaders, linked = _slow(images, number)
    assert found.leader.tolist() == leaders
    assert found.component.tolist() == linked


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_which_images_belong_together_does_not_depend_on_their_order(seed: int) -> None:
    images = _family((1, 2))
    order = np.random.default_rng(seed).permutation(len(images))
    straight = group(fingerprints(images), LEVELS)
    shuffled = group(fingerprints([images[at] for at in order]), LEVELS)
    for a, b in came(zip(straight, shuffled, strict=True)):
        sets = {frozenset(np.flatnonzero(a.component == c).tolist()) for c in a.component}
        assert sets == {frozenset(order[np.flatnonzero(b.component == c)].tolist()) for c in b.component}


@pytest.mark.parametrize(("ranges", "at_once"), [(1, 1), (7, 3), (64, MEMBERS_AT_ONCE)])
def test_groups_are_the_same_however_the_work_is_cut(
    ranges: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = fingerprints(_family((1, 2, 3, 4)))
    category = np.arange(len(prints.exact)) % 3
    whole = group(prints, LEVELS, category)
    monkeypatch.setattr(groups, "MEMBERS_AT_ONCE", at_once)
    with however_few():
        cut = group(prints, LEVELS, category, _Shuffled(ranges, ranges))
    for one, other in came(zip(whole, cut, strict=True)):
        assert one.level == other.level
        for name in ("leader", "component", "near", "flipped"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert len(set(whole[-1].component.tolist())) < len(set(whole[1].component.tolist())) < len(prints.exact)


def test_no_two_leaders_are_the_same_image_and_every_member_is_its_leaders() -> None:
    images = _family((1, 2, 3))
    for number in (0, 1):
        leader = group(fingerprints(images), LEVELS)[number + 1].leader
        kept = np.unique(leader)
        again = group(fingerprints([images[at] for at in kept]), LEVELS)[number + 1]
        assert again.leader.tolist() == list(range(len(kept)))


def test_equal_bytes_are_one_image_even_where_they_cannot_be_decoded() -> None:
    images = [scene(1), scene(2), scene(1), scene(3), scene(2)]
    prints = fingerprints(images, exact=[7, 3, 7, 5, 3])
    prints.deviation[:] = np.nan
    found = group(prints, LEVELS, np.array([0, 1, 2, 0, 0]))
    for grouping in came(found):
        assert grouping.leader.tolist() == [0, 1, 0, 3, 1]
        assert grouping.near.tolist() == [0b101, 0b011, 0b101, 0b001, 0b011]


def test_blank_images_join_only_what_is_nearly_the_same_pixels() -> None:
    shades = [Image.new("RGB", (64, 64), (level, level, level)) for level in (100, 100, 101, 110, 200)]
    found = group(fingerprints(shades), LEVELS)[-1]
    assert found.leader.tolist() == [0, 0, 0, 3, 4]


def test_a_mirrored_image_is_found_at_the_edited_level_and_said_to_be_flipped() -> None:
    picture = scene(8)
    found = group(fingerprints([picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]), LEVELS)
    assert found[1].leader.tolist() == [0, 1]
    assert found[2].leader.tolist() == [0, 0]
    assert found[2].flipped.tolist() == [False, True]


def _lookalikes(seed: int, count: int) -> Fingerprints:
    """Fingerprints that are alike or nearly so, one way round or another, blank ones and turned ones among them."""
    draw = np.random.default_rng(seed)
    of = draw.integers(0, max(1, count // 4), count)
    words, mirrored = (_flipped(draw, draw.integers(0, 2**64, (count, 5), np.uint64)[of]) for _ in range(2))
    mirrors = draw.random(count) < 0.3
    words[mirrors], mirrored[mirrors] = mirrored[mirrors], words[mirrors]
    noise_of = draw.choice([0, 1, 2, 8], count)[:, None]
    luma_of = draw.integers(0, 256, (count, 32, 32))[of]
    luma_of[of % 3 == 0] = 128  # blank ones
    luma_of[mirrors] = luma_of[mirrors, :, ::-1]
    small = luma_of.reshape(count, -1) + draw.integers(-9, 10, (count, 1024)) * noise_of // 4
    small[np.arange(count), draw.integers(0, 1024, count)] += draw.integers(-9, 10, count)  # and a spot
    cells = draw.integers(0, 256, (count, 16, 16, 4))[of]
    cells[mirrors] = cells[mirrors, :, ::-1]
    colour = cells.reshape(count, -1) + draw.integers(-20, 21, (count, 1024)) * noise_of // 4
    looks = np.clip(np.concatenate((small, colour), axis=1), 0, 255).astype(np.uint8)
    rows = np.flatnonzero(draw.random(count) < 0.3)
    turns = draw.integers(2, 9, len(rows)).astype(np.uint8) | draw.choice(np.array([0, UNDECIDED], np.uint8), len(rows))
    again = draw.integers(0, count, len(rows))
    return Fingerprints(
        exact=np.stack((draw.integers(1, count + 1, count), np.ones(count, np.int64)), axis=1).astype(np.uint64),
        words=words,
        mirrored=mirrored,
        deviation=np.where(draw.random(count) < 0.1, np.nan, draw.choice([3.0, 40.0], count)).astype(np.float32),
        looks=lambda rows: looks[rows],
        turned=Turned(rows, turns, words[again], mirrored[again]),
    )


def _flipped(draw: np.random.Generator, codes: Words) -> Words:
    """The codes with a few of the bits flipped."""
    for _ in range(3):
        codes = codes ^ (
            draw.integers(0, 2, codes.shape).astype(np.uint64) << draw.integers(0, 64, codes.shape, np.uint64)
        )
    return codes


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([LEVELS[:1], LEVELS]))
def test_few_images_are_compared_as_many_are(seed: int, count: int, levels: tuple[Level, ...]) -> None:
    prints, category = _lookalikes(seed, count), np.arange(count) % 3
    plain = group(prints, levels, category)
    with however_few():
        compiled = group(prints, levels, category)
    for a, b in came(zip(plain, compiled, strict=True)):
        assert _told(a) == _told(b)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([LEVELS[:1], LEVELS]))
def test_few_images_are_matched_as_many_are(seed: int, count: int, levels: tuple[Level, ...]) -> None:
    both = _lookalikes(seed, count)
    half = count // 2
    sides = [_some(both, 0, half), _some(both, half, count)]
    told: list[str] = []
    plain = match(sides[0], sides[1], levels)
    with however_few():
        compiled = match(sides[0], sides[1], levels, lambda: told.append("many"))
    for a, b in came(zip(plain, compiled, strict=True)):
        assert _told(a) == _told(b)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize(("gray", "alike"), [(128, True), (131, False)])
def test_a_turned_image_whose_hashes_noise_decides_is_found_in_another_set_as_in_its_own(
    row: int, gray: int, alike: bool
) -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (6, 5), np.uint64)  # no hash is near another
    looks = np.array([[128] * 2048, [gray] * 2048], np.uint8)
    turned = Turned(np.array([row]), np.array([6 | UNDECIDED], np.uint8), words[4:5], words[5:])
    exact = np.array([[1, 1], [2, 1]], np.uint64)
    spread = np.full(2, 40, np.float32)
    both = Fingerprints(exact, words[:2], words[2:4], spread, lambda rows: looks[rows], turned)
    assert (group(both, LEVELS)[-1].leader[1] == 0) == alike
    found = match(_some(both, 0, 1), _some(both, 1, 2), LEVELS)
    assert [bool(side.other[0] == 0) for side in found] == [alike, alike]


def test_the_pictures_of_both_properties_are_alike_in_every_way() -> None:
    ways: set[tuple[str, bool]] = set()
    for seed in range(6):
        for found in group(_lookalikes(seed, 60), LEVELS)[1:]:
            follows = found.leader != np.arange(60)
            ways |= {(found.level, bool(flipped)) for flipped in found.flipped[follows]}
    assert ways == {("re-encode", False), ("edited", False), ("edited", True)}


def _told(found: Any) -> list[Any]:
    values = found if isinstance(found, tuple) else [getattr(found, name) for name in found.__slots__]
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]


def _some(prints: Fingerprints, start: int, stop: int) -> Fingerprints:
    """A range of the images."""
    turned = prints.turned
    held = (turned.rows >= start) & (turned.rows < stop)
    return Fingerprints(
        prints.exact[start:stop],
        prints.words[start:stop],
        prints.mirrored[start:stop],
        prints.deviation[start:stop],
        lambda rows: prints.looks(rows + start),
        Turned(turned.rows[held] - start, turned.turns[held], turned.words[held], turned.mirrored[held]),
    )


@pytest.mark.parametrize("mirrors", [False, True])
def test_a_worker_searches_codes_where_they_lie_and_compiles_nothing_for_it(mirrors: bool) -> None:
    draw = np.random.default_rng(3)
    codes = draw.integers(0, 2**63, (70_000, 2), np.uint64)
    mirrored = codes[::-1].copy() if mirrors else None
    link(codes[:2], (0, 0))
    known = set(hamming.join.signatures)
    shared = SharedValues()
    sent = shared.packed(shared.digest(Codes(codes, mirrored, np.ones(len(codes), np.bool_))))
    came: Any = sent.value()
    arrays = [*came.sets, *came.firsts, came.takes]
    assert all(any(np.shares_memory(array, one) for one in sent.arrays) for array in arrays)
    assert not any(array.flags.writeable for array in arrays)
    search_part(SearchTask(came, bands.plan_bands(len(codes), 2)[0], 0, 64, (2, 0)), lambda _: None)
    assert set(hamming.join.signatures) == known
