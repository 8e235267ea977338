"""The YAML front matter of a card, key by key: keys that are not ours stay as they are, byte for byte."""

from __future__ import annotations

import re

_KEY_RE = re.compile(r"^([A-Za-z_][\w-]*):", re.MULTILINE)


def split_card(text: str) -> tuple[dict[str, str], str]:
    """Top-level keys, each with its lines (including the key), and the text after the front matter.

    Law: ``join_card(*split_card(text)) == text`` for every text with front matter.
    """
    if not text.startswith("---\n"):
        return {}, text
    matter, end, rest = text[4:].partition("\n---\n")
    if not end:
        return {}, text
    matter += "\n"
    found = list(_KEY_RE.finditer(matter))
    blocks = {"": matter[: found[0].start()] if found else matter}
    for match, following in zip(found, [*found[1:], None], strict=True):
        blocks[match[1]] = matter[match.start() : following.start() if following else len(matter)]
    return blocks, rest


def join_card(blocks: dict[str, str], rest: str) -> str:
    """The card made of these parts."""
    matter = "".join(blocks.values())
    return f"---\n{matter}---\n{rest}" if matter else rest


def replace_block(text: str, begin: str, end: str, block: str) -> str:
    """The text with the part between two marks (including the marks) replaced, or with the block added at its end."""
    before, found, behind = text.partition(begin)
    if found:
        return before + block + behind.partition(end)[2].removeprefix("\n")
    return text.rstrip("\n") + "\n\n" + block if block else text
