"""The page of ``duplicates``: figures, leak matrix, and a contact sheet that can be filtered and sorted."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from wdstools.dedup.levels import LIMITS
from wdstools.report.page import render_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dedup.results import DuplicateGroup, DuplicateGroups, DuplicateMember, Thumbnail

#: The most groups that a page lists; others are only counted. The command line lists them all.
MOST_GROUPS = 3_000
_MOST_MEMBERS = 200


def render_duplicates(name: str, root: str, found: DuplicateGroups, thumbnails: Mapping[str, Thumbnail]) -> str:
    """The HTML text. It loads nothing from outside, whatever keys and captions contain."""
    listed = {group.representative for group in itertools.islice(found.to_look_at(), MOST_GROUPS)}
    groups = [_group(group, thumbnails) for group in found.groups if group.representative in listed]
    return render_page(
        "duplicates.html", name=name, root=root, found=found, splits=list(found.levels[-1].leaks),
        groups=len(groups), limit=LIMITS[found.level], data=_script_json(groups),
    )  # fmt: skip


def _group(group: DuplicateGroup, thumbnails: Mapping[str, Thumbnail]) -> dict[str, Any]:
    return {
        "n": len(group.members),
        "splits": group.splits,
        "labels": group.labels,
        "captions": group.captions,
        "low": group.low_information,
        "far": max(member.phash16 for member in group.members),
        "members": [_member(member, thumbnails.get(member.key)) for member in group.members[:_MOST_MEMBERS]],
    }


def _member(member: DuplicateMember, thumbnail: Thumbnail | None) -> dict[str, Any]:
    return {
        "key": member.key, "split": member.split, "label": member.label, "d": member.phash, "d16": member.phash16,
        "same": member.identical, "flip": member.flipped, "turn": member.turned,
        "img": thumbnail.picture if thumbnail else "", "text": thumbnail.caption if thumbnail else "",
    }  # fmt: skip


def _script_json(value: object) -> str:
    """JSON that is safe in a script element: nothing in it ends the element or starts a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
