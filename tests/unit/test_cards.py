"""A card that people wrote into, or that is damaged: what wdstools owns is put right, and everything else stays."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.properties.test_manifest_laws import SHARD, SMALL
from wdstools.formats.card import (
    BEGIN_MARK,
    END_MARK,
    card_differences,
    hugging_face_names,
    mend_card,
    printable_name,
    render_block,
    render_card,
    render_configs,
)

if TYPE_CHECKING:
    from wdstools.formats.manifest import ShardEntry

CONFIGS, BLOCK = render_configs(SMALL), render_block(SMALL)
INNER = BLOCK.removeprefix(BEGIN_MARK + "\n").removesuffix(END_MARK + "\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"---\n{CONFIGS}---\n\n\n{BLOCK}"),
        ("# Mine\n\nWords.\n\n\n", f"---\n{CONFIGS}---\n# Mine\n\nWords.\n\n{BLOCK}"),
        # a line of dashes that begins no front matter, and front matter that never ends
        ("text\n---\nmore", f"---\n{CONFIGS}---\ntext\n---\nmore\n\n{BLOCK}"),
        ("---\nlicense: mit\n", f"---\n{CONFIGS}---\n---\nlicense: mit\n\n{BLOCK}"),
        # keys before and after, and what belongs to each
        (
            "---\nlicense: mit\nconfigs:\n- old\n  of: it\n# a word\n\ntags:\n- a\n---\nx\n",
            f"---\n{CONFIGS}license: mit\ntags:\n- a\n---\nx\n\n{BLOCK}",
        ),
        ("---\nconfigs:\n-old\n of: it\n#word\ntags: []\n---\n", f"---\n{CONFIGS}tags: []\n---\n\n\n{BLOCK}"),
        # what stands before the first key is of nobody
        ("---\n# mine\n\ntags: []\n---\n", f"---\n{CONFIGS}# mine\n\ntags: []\n---\n\n\n{BLOCK}"),
        ("---\nc0nfigz:\n- old\ntags: []\n---\n", f"---\n{CONFIGS}tags: []\n---\n\n\n{BLOCK}"),
        ("---\nc0nf1gz:\n- old\n---\n", f"---\n{CONFIGS}c0nf1gz:\n- old\n---\n\n\n{BLOCK}"),
        # front matter that says nothing
        ("---\n---\n# Mine\n", f"---\n{CONFIGS}---\n# Mine\n\n{BLOCK}"),
        ("---\n\n---\n# Mine\n\n---\nmore\n", f"---\n{CONFIGS}---\n# Mine\n\n---\nmore\n\n{BLOCK}"),
        ("---\nconfigs: []\n---\n", f"---\n{CONFIGS}---\n\n\n{BLOCK}"),
        (f"---\nlicense: mit\n{CONFIGS}---\nx", f"---\nlicense: mit\n{CONFIGS}---\nx\n\n{BLOCK}"),
    ],
)
def test_what_people_wrote_stays(before: str, after: str) -> None:
    assert mend_card(before, SMALL) == after
    assert card_differences(after, SMALL) == []
    assert mend_card(after, SMALL) == after


_NEAR = BEGIN_MARK.replace("begin", "bogim"), END_MARK.replace("end", "emb")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"a\n{BEGIN_MARK}\nold\n{END_MARK}\nb\n", f"a\n{BLOCK}b\n"),
        (f"a\n{_NEAR[0]}\nold\n{_NEAR[1]}\nb\n", f"a\n{BLOCK}b\n"),
        (f"{BEGIN_MARK}\nold\n{END_MARK}\nb\n", f"{BLOCK}b\n"),
        (f"a\n{BEGIN_MARK}\nold\n{END_MARK}\n", f"a\n{BLOCK}"),
        # one mark is lost: its place is that of the other
        (f"a\n{BEGIN_MARK}\nold\nb\n", f"a\n{BLOCK}old\nb\n"),
        (f"a\nold\n{END_MARK}\nb\n", f"a\nold\n{BLOCK}b\n"),
        (f"{END_MARK}\nb\n", f"{BLOCK}b\n"),
        # the end before the beginning
        (f"a\n{END_MARK}\nb\n{BEGIN_MARK}\nc\n", f"a\n{END_MARK}\nb\n{BLOCK}c\n"),
        # three characters are too many for it to be a mark
        (f"a\n{BEGIN_MARK.replace('begin', 'abcdn')}\n", f"a\n{BEGIN_MARK.replace('begin', 'abcdn')}\n\n{BLOCK}"),
    ],
)
def test_the_block_stands_where_its_marks_are(before: str, after: str) -> None:
    front = f"---\n{CONFIGS}---\n"
    assert mend_card(front + before, SMALL) == front + after


def test_splits_are_called_what_hugging_face_calls_them_and_stand_in_the_order_of_reading() -> None:
    splits: dict[str, tuple[ShardEntry, ...]] = dict.fromkeys(
        ["a-b", "a_b", "odd", "test", "train", "val", "valid", "validation"], (SHARD,)
    )
    many = dataclasses.replace(SMALL, splits=splits)
    names = {"a-b": "a_b_", "a_b": "a_b", "val": "validation_", "valid": "validation__", "validation": "validation"}
    assert hugging_face_names(many) == {**{name: name for name in splits}, **names}
    rows = [line.split()[1] for line in render_block(many).splitlines() if line.startswith("| ")]
    assert rows[1:] == ["train", "val", "valid", "validation", "test", "a-b", "a_b", "odd"]
    assert hugging_face_names(dataclasses.replace(SMALL, splits={"val": (SHARD,)})) == {"val": "validation"}


def test_a_card_says_labels_only_where_samples_have_them() -> None:
    labelled = dataclasses.replace(SMALL, labels=("cat", "dog"), members=("jpg", "cls"))
    assert "Labels (`cls`): 0 cat, 1 dog.\n" in render_card(labelled)
    assert "Labels" not in render_card(dataclasses.replace(labelled, members=("jpg",)))
    assert "Labels" not in render_card(dataclasses.replace(labelled, labels=()))
    assert "# Dataset\n" in render_card(dataclasses.replace(SMALL, name=""))


def test_a_name_is_shown_on_one_line_with_escapes_for_what_is_not_seen() -> None:
    assert printable_name("caf\xe9 \u65e5\n\x1b[0m\u202e") == "caf\xe9 \u65e5\\n\\x1b[0m\\u202e"
