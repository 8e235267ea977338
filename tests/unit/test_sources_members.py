"""Members of shards: which there are, which are packed, and that nothing is left out without a word."""

from __future__ import annotations

import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accounting import pack_all
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import assert_clean_failure, run_command
from tests.support.foreign_tars import tar_bytes, write
from tests.support.pictures import encoded
from tests.support.rawtar import END, member
from wdstools import UsageError, open_dataset, open_source, verify
from wdstools.foreign.member_meaning import class_of, kind_of, label_of

if TYPE_CHECKING:
    from pathlib import Path


def shards(folder: Path, *samples: dict[str, bytes], name: str = "train-000.tar") -> Path:
    """A tar of samples called 0, 1, 2, with these members."""
    members = [(f"{n}.{extension}", data) for n, sample in enumerate(samples) for extension, data in sample.items()]
    return write(folder, {name: tar_bytes(members)})


def full(number: int, **more: bytes) -> dict[str, bytes]:
    return {"jpg": tiny_jpeg(number), "txt": b"caption %d" % number, **more}


def test_further_members_are_packed_and_the_format_says_so(tmp_path: Path) -> None:
    mask = encoded("PNG")
    given = [
        {**full(n), "npy": b"array", "mask.png": mask, "wav": b"RIFF", "xml": b"<a/>", "left.jpg": tiny_jpeg(n + 9)}
        for n in range(3)
    ]
    folder = shards(tmp_path / "s", *given)
    found = pack_all(folder, tmp_path / "out")
    assert found.samples() == {str(n): sample for n, sample in enumerate(given)}
    assert (found.skips, found.dataset.manifest.format) == ((), 2)
    assert found.dataset.manifest.members == ("jpg", "txt", "left.jpg", "mask.png", "npy", "wav", "xml")
    assert verify(found.dataset, level="decode").ok
    assert pack_all(tmp_path / "out", tmp_path / "again").dataset.root == found.dataset.root


def test_without_further_members_the_format_stays_1(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", full(0, npy=b"x"), full(1, npy=b"y"))
    assert pack_all(folder, tmp_path / "a", layout={"drop_members": "npy"}).dataset.manifest.format == 1
    found = pack_all(folder, tmp_path / "b", layout={"members": ["txt"]})
    assert (found.dataset.manifest.members, found.skips) == (("jpg", "txt"), ())


@pytest.mark.parametrize(
    ("missing", "members", "samples", "codes"),
    [
        (None, ("jpg", "txt", "npy"), 2, {"member-missing"}),
        ("skip", ("jpg", "txt", "npy"), 2, {"member-missing"}),
        ("empty", ("jpg", "txt", "npy"), 3, set()),
        ("drop", ("jpg", "txt"), 3, {"member-left-out"}),
    ],
)
def test_what_becomes_of_samples_that_lack_a_member_is_a_choice(
    missing: str | None, members: tuple[str, ...], samples: int, codes: set[str], tmp_path: Path
) -> None:
    folder = shards(tmp_path / "s", full(0, npy=b"x"), full(1, npy=b"y"), full(2))
    found = pack_all(folder, tmp_path / "out", layout={"members_missing": missing})
    assert found.dataset.manifest.members == members
    assert len(found.samples()) == samples
    assert {skip["reason"] for skip in found.skips} == codes
    if missing == "empty":
        assert found.samples()["2"]["npy"] == b""


def test_a_member_of_few_samples_costs_no_other_sample_and_is_told(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", full(0, npy=b"x"), full(1), full(2))
    found = pack_all(folder, tmp_path / "a")
    assert len(found.samples()) == 3
    assert [(skip["reason"], skip["path"]) for skip in found.skips] == [("member-left-out", "*.npy")]
    assert set(pack_all(folder, tmp_path / "b", layout={"members": "txt,npy"}).samples()) == {"0"}


def test_an_extension_that_no_member_can_have_is_left_out_by_name_or_renamed(tmp_path: Path) -> None:
    folder = shards(
        tmp_path / "s", full(0, **{"left-eye.png": encoded("PNG")}), full(1, **{"left-eye.png": encoded("PNG")})
    )
    found = pack_all(folder, tmp_path / "a")
    assert [(skip["reason"], skip["path"]) for skip in found.skips] == [("member-left-out", "*.left-eye.png")]
    renamed = pack_all(folder, tmp_path / "b", layout={"members": ["txt", "left_eye.png=left-eye.png"]})
    assert renamed.dataset.manifest.members == ("jpg", "txt", "left_eye.png")


@pytest.mark.parametrize("given", ["__x", "A", "a b", "x.", "x" * 33, "second=.."])
def test_a_member_that_cannot_be_is_refused(given: str, tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", full(0))
    with pytest.raises(UsageError):
        open_source(str(folder), members=[given]).list()


def test_one_dotted_image_and_text_are_image_and_caption(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", *({"input.jpg": tiny_jpeg(n), "output.txt": b"%d" % n} for n in range(3)))
    assert pack_all(folder, tmp_path / "out").samples() == {
        str(n): {"jpg": tiny_jpeg(n), "txt": b"%d" % n} for n in range(3)
    }


def test_of_several_dotted_images_one_must_be_named(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", *({"a.jpg": tiny_jpeg(n), "b.jpg": tiny_jpeg(n + 9)} for n in range(3)))
    ran = run_command("pack", folder, tmp_path / "out", "--no-progress")
    assert_clean_failure(ran, 2)
    assert "--members jpg=a.jpg,b.jpg" in ran.err
    found = pack_all(folder, tmp_path / "out", layout={"members": "jpg=a.jpg,b.jpg"})
    assert found.samples()["1"] == {"jpg": tiny_jpeg(1), "b.jpg": tiny_jpeg(10)}


def test_a_second_plain_image_gets_a_dotted_name(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", *({"png": encoded("PNG"), "jpg": tiny_jpeg(n)} for n in range(3)))
    found = pack_all(folder, tmp_path / "out")
    assert found.samples()["1"] == {"jpg": tiny_jpeg(1), "second.png": encoded("PNG")}


def test_capitals_are_no_other_members(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", {"JPG": tiny_jpeg(0), "TXT": b"x", "NPY": b"y", "CLS": b"7", "Json": b"{}"})
    assert pack_all(folder, tmp_path / "out").samples() == {
        "0": {"jpg": tiny_jpeg(0), "txt": b"x", "cls": b"7", "json": b"{}", "npy": b"y"}
    }


def test_keys_that_restart_in_each_shard_are_kept_apart_by_its_name(tmp_path: Path) -> None:
    for shard in range(3):
        shards(tmp_path / "s", *(full(10 * shard + n) for n in range(3)), name=f"train-{shard:06d}.tar")
    adopted = run_command("adopt", tmp_path / "s", "-o", tmp_path / "a", "--json")
    assert "--prefix-keys shard" in str(adopted.lines)
    found = pack_all(tmp_path / "s", tmp_path / "out", layout={"prefix_keys": "shard"})
    assert sorted(found.samples()) == [f"train-{shard:06d}/{n}" for shard in range(3) for n in range(3)]
    assert found.skips == ()


def test_keys_that_restart_within_a_shard_are_numbered(tmp_path: Path) -> None:
    members = [(f"{'ab'[n % 2]}.{ext}", data) for n in range(6) for ext, data in full(n).items()]
    write(tmp_path / "s", {"x-000.tar": tar_bytes(members)})
    found = pack_all(tmp_path / "s", tmp_path / "out", layout={"prefix_keys": "shard"})
    assert sorted(found.samples("x")) == [f"x-000/{key}{n}" for key in "ab" for n in ("", "_2", "_3")]


def test_the_last_member_of_a_name_wins_as_for_tar(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", full(0), full(1))
    with tarfile.open(folder / "train-000.tar", "a") as tar:
        late = tmp_path / "late"
        late.write_bytes(b"corrected")
        tar.add(late, "0.txt")
    found = pack_all(folder, tmp_path / "out")
    assert found.samples()["0"] == {"jpg": tiny_jpeg(0), "txt": b"corrected"}
    assert found.reasons == {"train-000.tar/0.txt": "member-duplicate"}


def test_an_image_without_caption_is_treated_as_from_a_folder(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", full(0), {"jpg": tiny_jpeg(1)})
    loose = write(tmp_path / "f", {"0.jpg": tiny_jpeg(0), "0.txt": b"caption 0", "1.jpg": tiny_jpeg(1)})
    for place, name in ((folder, "train-000.tar/1.jpg"), (loose, "1.jpg")):
        assert pack_all(place, tmp_path / f"out-{place.name}").reasons == {name: "caption-missing"}
        kept = pack_all(place, tmp_path / f"kept-{place.name}", layout={"captions": "optional"})
        assert kept.samples()["1"] == {"jpg": tiny_jpeg(1), "txt": b""}


def test_classes_that_are_words_become_labels(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", *(full(n, cls=name) for n, name in enumerate([b"dog", b"cat\n", b"dog"])))
    found = pack_all(folder, tmp_path / "out")
    assert found.dataset.manifest.labels == ("cat", "dog")
    assert [found.samples()[key]["cls"] for key in "012"] == [b"1", b"0", b"1"]


def test_absolute_names_and_dots_are_read_as_tar_reads_them(tmp_path: Path) -> None:
    members = [
        (f"{head}{n}.{ext}", data)
        for n, head in enumerate(["/data//x/", "./", "y/./"])
        for ext, data in full(n).items()
    ]
    write(tmp_path / "s", {"x-000.tar": tar_bytes(members)})
    assert sorted(pack_all(tmp_path / "s", tmp_path / "out").samples("x")) == ["1", "data/x/0", "y/2"]


@pytest.mark.parametrize(
    "form", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))], ids=str
)
def test_sparse_members_are_refused_by_their_own_name(form: list[str], tmp_path: Path) -> None:
    write(tmp_path / "f", {"1.jpg": tiny_jpeg(1), "1.txt": b"x", "2.jpg": tiny_jpeg(2), "2.txt": b"y"})
    with (tmp_path / "f/1.mask").open("wb") as file:
        for part in range(30):  # more parts than a header of GNU's form has places for
            file.seek(part * 100_000)
            file.write(b"part")
        file.truncate(4_000_000)
    (tmp_path / "s").mkdir()
    names = ["1.jpg", "1.mask", "1.txt", "2.jpg", "2.txt"]
    command = ["tar", *form, "-S", "-cf", str(tmp_path / "s/x-000.tar"), "-C", str(tmp_path / "f"), *names]
    subprocess.run(command, check=True)
    adopted = run_command("adopt", tmp_path / "s", "-o", tmp_path / "a")
    assert adopted.code == 3
    assert "1.mask" in adopted.out
    assert dict(open_dataset(str(tmp_path / "a"))["1"]) == {"jpg": tiny_jpeg(1), "txt": b"x"}
    found = pack_all(tmp_path / "s", tmp_path / "out")
    assert found.reasons == {"x-000.tar/1.mask": "member-sparse"}
    assert len(found.samples("x")) == 2


def test_samples_behind_the_end_of_an_archive_are_packed_and_told(tmp_path: Path) -> None:
    both = tar_bytes([("a.jpg", tiny_jpeg(0)), ("a.txt", b"x")]) + tar_bytes([("b.jpg", tiny_jpeg(1)), ("b.txt", b"y")])
    write(tmp_path / "s", {"x-000.tar": both})
    assert set(pack_all(tmp_path / "s", tmp_path / "out").samples("x")) == {"a", "b"}
    assert any("after the end" in note for note in open_source(str(tmp_path / "s")).list().differences)


def test_a_hole_of_zeros_is_damage_and_no_end(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([(f"{n}.{ext}", data) for n in range(6) for ext, data in full(n).items()]))
    data[2048:6000] = bytes(6000 - 2048)
    write(tmp_path / "s", {"x-000.tar": bytes(data)})
    ran = run_command("pack", tmp_path / "s", tmp_path / "out", "--no-progress")
    assert_clean_failure(ran, 5)
    assert "hole of zeros" in ran.err
    assert run_command("adopt", tmp_path / "s", "-o", tmp_path / "a").code == 3


@pytest.mark.parametrize(
    "size", [b"00000000003\0", b"\x0000000003\0\0\0", b"         3 \0", b"3\0garbage..", b"000000003\x00\xff\xff"]
)
def test_sizes_are_read_as_gnu_tar_reads_them(size: bytes, tmp_path: Path) -> None:
    write(tmp_path / "s", {"x-000.tar": member(b"a.txt", b"abc", size=size) + member(b"a.jpg", tiny_jpeg(1)) + END})
    assert pack_all(tmp_path / "s", tmp_path / "out").samples("x") == {"a": {"jpg": tiny_jpeg(1), "txt": b"abc"}}


@pytest.mark.parametrize(("payload", "number"), [(b"7", 7), (b" 07\n", 7), (b"00000000012", 12), (b"2147483647", 2**31 - 1), (b"2147483648", None), (b"-1", None), (b"", None), ("²".encode(), None)])  # fmt: skip
def test_a_class_is_a_number_that_fits(payload: bytes, number: int | None) -> None:
    assert class_of(payload) == number


@pytest.mark.parametrize(("payload", "label"), [(b"cat", "cat"), (b" new york \n", "new york"), (b"-1", None), (b"1.5", None), (b"", None), (b"\xff", None), (b"a\nb", None), (b"x" * 200, None)])  # fmt: skip
def test_a_label_is_a_line_that_is_no_number(payload: bytes, label: str | None) -> None:
    assert label_of(payload) == label


def test_what_extensions_stand_for() -> None:
    kinds: dict[str, Any] = {
        name: kind_of(name) for name in ("jpg", "JPEG", "mask.png", "TXT", "caption", "cls", "json", "npy", "a.txt")
    }
    assert json.dumps(kinds) == json.dumps({"jpg": "image", "JPEG": "image", "mask.png": "image", "TXT": "caption", "caption": "caption", "cls": "cls", "json": "json", "npy": "", "a.txt": ""})  # fmt: skip


@pytest.mark.parametrize("classes", [b"1", b"cat"])
def test_a_class_that_few_samples_have_is_left_out_and_counted(classes: bytes, tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", *(full(n, **({"cls": classes} if n < 2 else {})) for n in range(6)))
    found = pack_all(folder, tmp_path / "a")
    assert (found.dataset.manifest.members, len(found.samples())) == (("jpg", "txt"), 6)
    assert [(skip["path"], skip["reason"]) for skip in found.skips] == [("*.cls", "member-left-out")]
    asked = pack_all(folder, tmp_path / "b", layout={"members": "txt,cls"})
    assert (asked.dataset.manifest.members, sorted(asked.samples())) == (("jpg", "txt", "cls"), ["0", "1"])


def test_a_class_that_half_of_the_samples_have_is_kept(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", *(full(n, **({"cls": b"1"} if n < 2 else {})) for n in range(4)))
    found = pack_all(folder, tmp_path / "a")
    assert found.dataset.manifest.members == ("jpg", "txt", "cls")
    assert [skip["reason"] for skip in found.skips] == ["label-missing"] * 2
