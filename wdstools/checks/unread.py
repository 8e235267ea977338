"""What could not be read is not damage: nobody has seen the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.results import Finding

#: Codes of errors that concern this user or process, and say nothing about the bytes.
UNREAD = ("denied", "too-many-open-files")


def set_apart(findings: Iterable[Finding]) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """The damage among some findings, and in words what could not be read."""
    damage, unread = [], []
    for finding in findings:
        if finding.kind == "unreadable" and finding.cause in UNREAD:
            unread.append(f"{finding.path} could not be read: {finding.message} ({finding.cause})")
        else:
            damage.append(finding)
    return tuple(damage), tuple(unread)
