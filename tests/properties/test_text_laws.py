"""Laws of the small text files: checksum lists as the real tools write them, the card as YAML reads it; and digests."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import tempfile
from typing import Any

import pytest
import xxhash
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.properties.test_manifest_laws import SHARD, SMALL, manifests, split_names
from tests.support.laws import LAW, SHORT_LAW
from tests.support.refusal import or_refused
from tests.support.tools import need, need_module
from wdstools.errors import FormatError
from wdstools.formats.card import (
    BEGIN_MARK,
    END_MARK,
    card_differences,
    mend_card,
    printable_name,
    render_block,
    render_card,
    render_configs,
)
from wdstools.formats.digest import ShardDigester, sha256_hex
from wdstools.formats.manifest import Manifest
from wdstools.formats.sums import SumLine, parse_sums, render_sums

plain_paths = st.text("abcXYZ019_/%~.-", min_size=1, max_size=30).filter(lambda path: not path.startswith("#"))
file_names = st.text("ab \\nr\n#()=*é'\"", min_size=1, max_size=12)
hex_digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@LAW
@given(st.dictionaries(plain_paths, hex_digests, max_size=8))
def test_a_checksum_list_round_trips_sorted_by_path(sums: dict[str, str]) -> None:
    lines = parse_sums(render_sums(sums))
    assert lines == [SumLine(path, "sha256", sums[path]) for path in sorted(sums)]


@SHORT_LAW
@given(st.sets(file_names, min_size=1, max_size=4), st.sampled_from(["sha256sum", "md5sum"]), st.booleans())
@example({"a\\nb", "a\nb", "\\", "a\\\nb", "\\n"}, "sha256sum", False)
@example({"a\\nb", "#x", "a) = b"}, "sha256sum", True)
def test_what_coreutils_list_is_read_back_with_any_file_name(names: set[str], tool: str, bsd: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(name * 3)
        ordered = sorted(names)
        command = [need(tool), *(["--tag"] if bsd else []), "--", *ordered]
        listed = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    algorithm = tool.removesuffix("sum")
    expected = [SumLine(name, algorithm, hashlib.new(algorithm, (name * 3).encode()).hexdigest()) for name in ordered]
    assert parse_sums(listed) == expected


_XXHSUM = {"-H0": "xxh32", "-H1": "xxh64", "-H2": "xxh3_128", "-H3": "xxh3_64"}


@pytest.mark.parametrize("option", sorted(_XXHSUM))
@pytest.mark.parametrize("bsd", [False, True])
def test_what_xxhsum_lists_is_read_back(option: str, bsd: bool, tmp_path: Any) -> None:
    payload = b"what lies in the file"
    (tmp_path / "a b.txt").write_bytes(payload)
    command = [need("xxhsum"), option, *(["--tag"] if bsd else []), "a b.txt"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    algorithm = _XXHSUM[option]
    digest = getattr(xxhash, f"{algorithm}_hexdigest")(payload)
    assert parse_sums(listed, where="sums.xxh") == [SumLine("a b.txt", algorithm, digest)]


def _among_sums(digest: str, junk: bytes) -> bytes:
    """A line that is right, and bytes after it."""
    return f"{digest}  file\n".encode() + junk


@LAW
@given(st.lists(hex_digests, min_size=1, max_size=3), st.text(max_size=30), st.data())
def test_a_line_that_is_no_sum_is_named_by_its_number(sums: list[str], noise: str, data: st.DataObject) -> None:
    lines = [f"{digest}  file{number}" for number, digest in enumerate(sums)]
    at = data.draw(st.integers(0, len(lines)))
    broken = "z" + "".join(c for c in noise if c.isprintable())
    lines.insert(at, broken)
    with pytest.raises(FormatError) as caught:
        parse_sums("\n".join(lines).encode(), where="SHA256SUMS")
    assert caught.value.code == "sums-damaged"
    assert caught.value.where == f"SHA256SUMS, line {at + 1}"


@LAW
@given(st.binary(max_size=200) | st.builds(_among_sums, hex_digests, st.binary(max_size=20)))
@example(_among_sums("0" * 64, b""))
def test_any_bytes_are_a_checksum_list_or_a_format_error(data: bytes) -> None:
    with or_refused("sums-damaged"):
        lines = parse_sums(data)
        assert [line for line in lines if not (line.path and line.algorithm)] == []
        assert len(lines) <= len(data.splitlines())


def configs_of(manifest: Manifest) -> list[dict[str, str]]:
    """What Hugging Face's YAML parser finds in a card."""
    front_matter = render_card(manifest).split("---\n")[1]
    (config,) = need_module("yaml").safe_load(front_matter)["configs"]
    assert config["config_name"] == "default"
    found: list[dict[str, str]] = config["data_files"]
    return found


@LAW
@given(st.lists(split_names | st.sampled_from(["train", "val", "test", "yes", "1", "null"]), unique=True, max_size=4))
@example(["val", "validation"])
@example(["val", "valid", "test"])
@example(["1e3", "007", "on", "_"])
def test_the_card_lists_every_split_once_under_a_name_of_its_own(splits: list[str]) -> None:
    manifest = Manifest("n", 1, (), ("jpg",), 0, dict.fromkeys(splits, (SHARD,)))
    found = configs_of(manifest) if splits else []
    assert sorted(entry["path"] for entry in found) == sorted(f"{split}/*.tar" for split in splits)
    assert len({entry["split"] for entry in found}) == len(splits)
    assert all(isinstance(entry["split"], str) for entry in found)


@LAW
@given(manifests())
def test_a_card_shows_no_character_that_acts_on_who_looks_at_it(manifest: Manifest) -> None:
    odd = dataclasses.replace(
        manifest, name="a\x1b]0;gone\x07\u202e", labels=("x\x1b[31m", "y\r\nz", "\u2028"), members=("jpg", "cls")
    )
    card = render_card(odd)
    assert all(character == "\n" or character.isprintable() for character in card)
    assert "x\\x1b[31m" in card
    assert card_differences(card, odd) == []
    assert card_differences(mend_card("", odd), odd) == []
    # a card of an older writer, which shows them as they are, is whole too
    older = card
    for label in odd.labels:
        older = older.replace(printable_name(label), label)
    assert card_differences(older, odd) == []


@LAW
@given(manifests())
def test_a_new_card_agrees_with_its_manifest(manifest: Manifest) -> None:
    assert card_differences(render_card(manifest), manifest) == []


@LAW
@given(st.data())
def test_a_changed_character_in_what_wdstools_owns_is_found(data: st.DataObject) -> None:
    card = render_card(SMALL)
    configs, block = render_configs(SMALL), render_block(SMALL)
    part, start, length = data.draw(
        st.sampled_from(
            [
                ("YAML key 'configs'", card.index(configs), len(configs)),
                ("block between the wdstools marks", card.index(block), len(block) - 1),
            ]
        )
    )
    at = start + data.draw(st.integers(0, length - 1))
    character = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    assume(character != card[at])
    changed = card[:at] + character + card[at + 1 :]
    assert part in card_differences(changed, SMALL)
    assert card_differences(card[:at] + card[at + 1 :], SMALL)


def test_what_the_owner_of_a_card_adds_is_no_difference() -> None:
    card = render_card(SMALL)
    more = card.replace("---\nconfigs:", "---\nlicense: mit\nconfigs:").replace("# n", "# Mine\n\nA word before.")
    assert card_differences(more + "\nA word after.\n", SMALL) == []
    assert more.count(BEGIN_MARK) == more.count(END_MARK) == 1


@LAW
@given(st.lists(st.binary(max_size=5000), max_size=5))
def test_digests_do_not_depend_on_how_the_bytes_came(blocks: list[bytes]) -> None:
    digester, whole = ShardDigester(), ShardDigester()
    data = b"".join(blocks)
    for block in blocks:
        digester.update(memoryview(block))
    whole.update(data)
    assert digester.digests() == whole.digests()
    assert digester.digests().bytes == len(data)
    assert digester.digests().sha256 == sha256_hex(data) == hashlib.sha256(data).hexdigest()
    assert digester.digests().xxh3_128 == xxhash.xxh3_128_hexdigest(data)


@pytest.mark.parametrize(
    ("data", "crc32c", "crc64nvme"),
    [
        # the check values of the CRC catalogue (reveng), and of RFC 3720, B.4
        (b"123456789", "e3069283", "ae8b14860a799888"),
        (bytes(32), "8a9136aa", "cf3473434d4ecf3b"),
        (b"\xff" * 32, "62a8ab43", "a0a06974c34d63c4"),
    ],
)
def test_crcs_have_their_published_check_values(data: bytes, crc32c: str, crc64nvme: str) -> None:
    digester = ShardDigester()
    digester.update(data)
    assert (digester.digests().crc32c, digester.digests().crc64nvme) == (crc32c, crc64nvme)


@LAW
@given(st.binary(max_size=200))
def test_crcs_are_those_of_a_plain_bitwise_division(data: bytes) -> None:
    digester = ShardDigester()
    digester.update(data)
    assert digester.digests().crc32c == f"{_crc(data, 0x82F63B78, 32):08x}"
    assert digester.digests().crc64nvme == f"{_crc(data, 0x9A6C9329AC4BC9B5, 64):016x}"


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """A reflected CRC, all ones before and after; the polynomial is given reflected."""
    ones: int = (1 << bits) - 1
    value = ones
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return value ^ ones
