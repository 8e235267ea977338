"""Nothing is lost silently: whatever a folder holds is packed, or listed with a reason."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.pictures import EOI, encoded
from wdstools import SkippedError, UsageError, WdsError, pack, scan
from wdstools.errors import SourceChangedError
from wdstools.sources.readers import FolderReader

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"good.jpg": tiny_jpeg(1), "good.txt": b"a good one"}


def packed_with(tmp_path: Path, files: dict[str, bytes], **options: Any) -> Packed:
    write_files(tmp_path / "src", {**GOOD, **files})
    found = pack_all(tmp_path / "src", tmp_path / "out", **options)
    assert found.samples()["good"] == {"jpg": GOOD["good.jpg"], "txt": GOOD["good.txt"]}
    return found


@pytest.mark.parametrize(
    ("image", "caption", "reason"),
    [
        (b"", b"x", "image-empty"),
        (b"hello", b"x", "image-not-jpg"),
        (encoded("PNG"), b"x", "image-not-jpg"),
        (tiny_jpeg(2)[:-2], b"x", "image-truncated"),
        (tiny_jpeg(2)[:200], b"x", "image-truncated"),
        (encoded("JPEG", size=(90, 90))[:1500] + EOI, b"x", "image-truncated"),
        (tiny_jpeg(2), b"\xff\xfe", "caption-not-utf8"),
        (tiny_jpeg(2), b"ok then \xed\xa0\x80", "caption-not-utf8"),
        (tiny_jpeg(2), b"x" * ((1 << 20) + 1), "caption-too-large"),
    ],
)
def test_each_bad_sample_is_named_with_its_reason(image: bytes, caption: bytes, reason: str, tmp_path: Path) -> None:
    found = packed_with(tmp_path, {"bad.jpg": image, "bad.txt": caption})
    assert found.reasons == {"bad.jpg": reason}
    assert len(found.samples()) == 1


@pytest.mark.parametrize("beside", ["metadata.jsonl", "bad.json"])
def test_a_caption_that_is_no_file_of_its_own_has_the_same_limit(beside: str, tmp_path: Path) -> None:
    """A table of a few kilobytes may stand for gigabytes of captions."""
    said = {"file_name": "bad.jpg", "caption": "x" * ((1 << 20) + 1)}
    good = {"file_name": "good.jpg", "caption": "y" * (1 << 20)}
    lines = (said, good) if beside == "metadata.jsonl" else (said,)
    files = {"bad.jpg": tiny_jpeg(2), "good.jpg": tiny_jpeg(3), beside: "\n".join(map(json.dumps, lines)).encode()}
    files |= {"good.json": json.dumps(good).encode()} if beside == "bad.json" else {}
    write_files(tmp_path / "src", files)
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert found.reasons == {"bad.jpg": "caption-too-large"}
    assert [sample["txt"] for sample in found.samples().values()] == [b"y" * (1 << 20)]


def test_captions_of_any_kind_of_text_come_back_byte_for_byte(tmp_path: Path) -> None:
    texts = [b"", b"\n", b"\0", "été 東京 😀".encode(), b"\r\nx\r\n", "\ufeffbom".encode(), b"y" * (1 << 20)]
    files = {f"{n}.jpg": tiny_jpeg(n) for n in range(len(texts))} | {f"{n}.txt": text for n, text in enumerate(texts)}
    found = packed_with(tmp_path, files)
    assert [found.samples()[str(n)]["txt"] for n in range(len(texts))] == texts


def test_missing_and_orphaned_captions_are_named(tmp_path: Path) -> None:
    found = packed_with(tmp_path, {"alone.jpg": tiny_jpeg(2), "orphan.txt": b"x", "deep/orphan.txt": b"y"})
    assert found.reasons == {
        "alone.jpg": "caption-missing",
        "orphan.txt": "image-missing",
        "deep/orphan.txt": "image-missing",
    }


def test_a_missing_caption_is_empty_where_captions_are_optional(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "alone.jpg": tiny_jpeg(2)})
    found = pack_all(tmp_path / "src", tmp_path / "out", layout={"captions": "optional"})
    assert found.samples()["alone"]["txt"] == b""
    assert found.skips == ()


def test_the_same_id_under_two_extensions_is_packed_once(tmp_path: Path) -> None:
    found = packed_with(tmp_path, {"x.jpg": tiny_jpeg(2), "x.jpeg": tiny_jpeg(3), "x.JPG": tiny_jpeg(4), "x.txt": b"x"})
    assert len(found.samples()) == 2
    assert sorted(found.reasons.values()) == ["key-duplicate", "key-duplicate"]


def test_names_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    write_files(tmp_path / "src", GOOD)
    for name in (b"bad\xff.jpg", b"bad\xff.txt", b"alone\xff.txt"):
        (tmp_path / "src" / os.fsdecode(name)).write_bytes(tiny_jpeg(2) if name.endswith(b"jpg") else b"x")
    folder = tmp_path / "src" / os.fsdecode(b"dir\xff")
    write_files(folder, {"x.jpg": tiny_jpeg(3), "x.txt": b"x"})
    found = pack_all(tmp_path / "src", tmp_path / "out")
    reasons = [(skip["path"].rpartition(".")[2], skip["reason"]) for skip in found.skips]
    assert reasons.count(("jpg", "name-not-utf8")) == 2
    assert any(path.startswith("alone") for path in found.reasons), "a caption without an image"


@pytest.mark.parametrize(
    "name", ["a.b.c", "with space", "été", "%41", "~x", "x\ny", "😀" * 40, "q" * 200, "-rf", "a'b", "CON"]
)
def test_odd_names_come_back(name: str, tmp_path: Path) -> None:
    found = packed_with(tmp_path, {f"{name}.jpg": tiny_jpeg(2), f"{name}.txt": b"odd"})
    assert [s["txt"] for k, s in found.samples().items() if k != "good"] == [b"odd"]
    assert found.skips == ()


def test_hidden_files_and_folders_are_not_packed(tmp_path: Path) -> None:
    found = packed_with(
        tmp_path, {".x.jpg": tiny_jpeg(2), ".x.txt": b"x", ".cache/y.jpg": tiny_jpeg(3), ".cache/y.txt": b"y"}
    )
    assert set(found.samples()) == {"good"}


def test_links_inside_are_followed_those_that_lead_out_when_asked_and_loops_end(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"src/a/1.jpg": tiny_jpeg(1), "src/a/1.txt": b"1", "far/2.jpg": tiny_jpeg(2), "far/2.txt": b"2"}
    )
    (tmp_path / "src/up").symlink_to(tmp_path / "src")
    (tmp_path / "src/a/self").symlink_to(".")
    (tmp_path / "src/far").symlink_to(tmp_path / "far")
    (tmp_path / "far/back").symlink_to(tmp_path / "far")
    (tmp_path / "src/3.jpg").symlink_to(tmp_path / "far/2.jpg")
    (tmp_path / "src/3.txt").symlink_to(tmp_path / "far/2.txt")
    (tmp_path / "src/4.jpg").symlink_to("a/1.jpg")
    (tmp_path / "src/4.txt").symlink_to("a/1.txt")
    found = pack_all(tmp_path / "src", tmp_path / "all", layout={"follow_links": True})
    assert set(found.samples()) == {"a/1", "far/2", "3", "4"}
    kept = pack_all(tmp_path / "src", tmp_path / "kept")
    assert set(kept.samples()) == {"a/1", "4"}
    assert kept.reasons == dict.fromkeys(("far", "3.jpg", "3.txt"), "link-outside")


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "x.txt": b"x"})
    (tmp_path / "src/x.jpg").symlink_to(tmp_path / "gone.jpg")
    try:
        named = list(pack_all(tmp_path / "src", tmp_path / "out").reasons)
    except WdsError as error:
        named = [error.where]
        assert not (tmp_path / "out").exists()
    assert any(path.endswith("x.jpg") for path in named)


def test_a_tar_beside_loose_images_does_not_hide_them(tmp_path: Path) -> None:
    import tarfile

    write_files(tmp_path / "src", {**GOOD, "more.jpg": tiny_jpeg(2), "more.txt": b"more"})
    with tarfile.open(tmp_path / "src/old.tar", "w") as tar:
        tar.add(tmp_path / "src/good.jpg", "old.jpg")
        tar.add(tmp_path / "src/good.txt", "old.txt")
    with pytest.raises(UsageError) as caught:
        pack_all(tmp_path / "src", tmp_path / "out")
    assert caught.value.code == "source-ambiguous"
    assert {"good", "more"} <= set(pack_all(tmp_path / "src", tmp_path / "out", layout={"recipe": "pairs"}).samples())


def test_fail_stops_at_the_first_bad_sample_and_leaves_nothing(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "bad.jpg": b"no", "bad.txt": b"x"})
    with pytest.raises(SkippedError) as caught:
        pack(str(tmp_path / "src"), str(tmp_path / "out"), on_error="fail")
    assert caught.value.code == "image-not-jpg"
    assert not (tmp_path / "out").exists()


MIXED = {"1.jpg": tiny_jpeg(1), "1.txt": b"1", "2.jpg": tiny_jpeg(2), "2.txt": b"2", "3.png": encoded("PNG"), "3.txt": b"3",
         "4.gif": encoded("GIF"), "4.txt": b"4", "5.tif": encoded("TIFF"), "5.txt": b"5"}  # fmt: skip


def test_of_mixed_types_most_are_packed_and_the_others_named_with_the_offer(tmp_path: Path) -> None:
    write_files(tmp_path / "src", MIXED)
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(found.samples()) == {"1", "2"}
    assert found.reasons == dict.fromkeys(("3.png", "4.gif", "5.tif"), "image-needs-convert")
    assert all("--convert jpg" in skip["detail"] for skip in found.skips)
    seen = scan(str(tmp_path / "src"))
    assert seen.image_types == {"gif": 1, "jpg": 2, "png": 1, "tiff": 1}
    assert (seen.total, dict(seen.skipped), seen.members) == (2, {"image-needs-convert": 3}, ("jpg", "txt"))
    more = {f"{n}.png": encoded("PNG", size=(20 + n, 20)) for n in (6, 7)}
    write_files(tmp_path / "src", {**more, "6.txt": b"6", "7.txt": b"7"})
    assert set(pack_all(tmp_path / "src", tmp_path / "png").samples()) == {"3", "6", "7"}


def test_convert_re_encodes_only_the_others(tmp_path: Path) -> None:
    write_files(tmp_path / "src", MIXED)
    found = pack_all(tmp_path / "src", tmp_path / "out", convert="jpg")
    samples = found.samples()
    assert set(samples) == set("12345")
    assert samples["1"]["jpg"] == MIXED["1.jpg"]
    assert all(sample["jpg"][:3] == b"\xff\xd8\xff" for sample in samples.values())
    assert found.skips == ()


def test_only_names_what_it_leaves_out(tmp_path: Path) -> None:
    write_files(tmp_path / "src", MIXED)
    found = pack_all(tmp_path / "src", tmp_path / "out", only="jpg")
    assert set(found.samples()) == {"1", "2"}
    assert found.reasons == dict.fromkeys(("3.png", "4.gif", "5.tif"), "image-not-jpg")


def test_only_a_type_that_cannot_be_stored_is_refused_with_the_offer(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.gif": encoded("GIF")})
    with pytest.raises(UsageError) as caught:
        pack(str(tmp_path / "src"), str(tmp_path / "out"))
    assert "convert='jpg'" in caught.value.hint
    assert pack_all(tmp_path / "src", tmp_path / "out", convert="png").samples()["1"]["png"][:4] == b"\x89PNG"


STEMS = st.sampled_from(["a", "b", "c.d", "é", "Z"])
FOLDERS = st.sampled_from(["", "x/", "x/y/", "é/"])
IMAGES = st.sampled_from([tiny_jpeg(1), tiny_jpeg(2), b"", tiny_jpeg(3)[:90], encoded("PNG"), tiny_jpeg(4) + b"!"])
CAPTIONS = st.sampled_from([b"", b"text", b"\xff", "é".encode()])
EXTENSIONS = st.sampled_from([".jpg", ".JPG", ".jpeg"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=st.dictionaries(st.tuples(FOLDERS, STEMS, EXTENSIONS), IMAGES, max_size=8),
    captions=st.dictionaries(st.tuples(FOLDERS, STEMS), CAPTIONS, max_size=8),
)
def test_packed_and_skipped_add_up_to_the_source(
    images: dict[tuple[str, str, str], bytes],
    captions: dict[tuple[str, str], bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    work = tmp_path_factory.mktemp("sum")
    write_files(work / "src", GOOD)
    write_files(work / "src", {"".join(name): data for name, data in images.items()})
    write_files(work / "src", {f"{folder}{stem}.txt": data for (folder, stem), data in captions.items()})
    found = pack_all(work / "src", work / "out")
    skipped = [path for path in found.reasons if not path.endswith(".txt")]
    assert len(found.samples()) - 1 + len(skipped) == len(images)
    stems = {(folder, stem) for folder, stem, _ in images}
    orphans = {f"{folder}{stem}.txt" for folder, stem in captions if (folder, stem) not in stems}
    assert {path for path, reason in found.reasons.items() if reason == "image-missing"} == orphans


def test_a_file_that_changes_behind_one_modification_time_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file newer than the pack is read again: its bytes are compared too, for a coarse clock hides a second write."""
    write_files(tmp_path / "src", GOOD)
    caption = tmp_path / "src/good.txt"
    later = 1 << 62
    os.utime(caption, ns=(later, later))
    read = FolderReader.read_into
    seen = []

    def read_and_write(self: FolderReader, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        found = read(self, path, entry, view)
        if path == "good.txt":
            seen.append(bytes(view[: found[0]]))
            caption.write_bytes(f"{len(seen)} another".encode()[: found[0]].ljust(found[0], b"!"))
            os.utime(caption, ns=(later, later))
        return found

    monkeypatch.setattr(FolderReader, "read_into", read_and_write)
    with pytest.raises(SourceChangedError):
        pack(str(tmp_path / "src"), str(tmp_path / "out"), jobs=1)
    assert len(seen) > 1
    assert seen[-2] != seen[-1]
    assert not (tmp_path / "out").exists()
