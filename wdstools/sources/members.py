"""Which members a dataset gets, from what a source has and what the user requests, and what happens to samples that lack one.

The rules are the same for every kind of source: the source counts, this module decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.errors import UsageError, option
from wdstools.formats.sample import MEMBER_ORDER, is_further_member
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What to do with samples that lack a member that others have.
MISSING_CHOICES = ("skip", "empty", "drop")


@dataclass(frozen=True, slots=True)
class MemberChoice:
    """What the user requests. ``wanted`` maps members to the extensions that they come from, in order; None is all members."""

    wanted: Mapping[str, str] | None = None
    dropped: frozenset[str] = frozenset()
    missing: str = "skip"

    def source_of(self, member: str) -> str | None:
        """The extension from which the user says a member comes, if that has another name."""
        source = (self.wanted or {}).get(member, member)
        return source if source != member else None

    @property
    def renamed(self) -> list[tuple[str, str]]:
        """Members that come from extensions of another name."""
        return [(name, source) for name, source in (self.wanted or {}).items() if name != source]

    def takes(self, member: str) -> bool:
        """Whether a member is packed if it exists."""
        return member not in self.dropped and (self.wanted is None or member in self.wanted)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The decision: further members in tar order, and for each one left out, how many samples have it, and why."""

    kept: tuple[str, ...] = ()
    left: Mapping[str, tuple[int, str]] = field(default_factory=dict)


def member_choice(
    members: Sequence[str] | str | None, drop_members: Sequence[str] | str | None, missing: str | None
) -> MemberChoice:
    """Parse the options for members: ``npy,mask.png``, ``jpg=input.jpg``. Raises UsageError."""
    wanted: dict[str, str] | None = None
    if members is not None:
        wanted = {}
        for word in _words(members):
            member, _, source = word.partition("=")
            _check(member, "members")
            wanted[member] = (source or member).lower()
    dropped = frozenset(_words(drop_members)) if drop_members is not None else frozenset()
    both = sorted(dropped.intersection(wanted or ()))
    if both:
        raise UsageError(
            f"{option('members')} and {option('drop_members')} name the same member",
            where=option("drop_members"),
            got=both[0],
        )
    return MemberChoice(wanted, dropped, missing or "skip")


def _words(given: Sequence[str] | str) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    return [word.strip().lstrip(".") for text in texts for word in text.split(",") if word.strip()]


def _check(member: str, name: str) -> None:
    if member not in MEMBER_ORDER and not is_further_member(member):
        raise UsageError(
            "a dataset cannot have a member with this name",
            where=option(name),
            expected="lower-case letters, digits and _, separated by dots, at most 32 characters; NAME=EXTENSION gives it another name",
            got=member,
        )


def choose_members(counts: Mapping[str, int], samples: int, choice: MemberChoice) -> Chosen:
    """Which further members to keep; ``counts`` says how many of the samples have each. Raises UsageError.

    A member that fewer than half of the samples have is left out unless requested: the other samples would be skipped.
    """
    asked = [member for member in choice.wanted or () if member not in MEMBER_ORDER]
    absent = next((member for member in asked if not counts.get(member)), None)
    if absent is not None:
        raise UsageError(
            "no sample has this member",
            where=option("members"),
            expected=", ".join(sorted(counts)) or "none: the source has no further members",
            got=absent,
        )
    kept, left = [], {}
    for member in sorted(counts, key=str.encode):
        why = _why_left(member, counts[member], samples, choice)
        if why is None:
            kept.append(member)
        elif why:
            left[member] = (counts[member], why)
    return Chosen(tuple(kept), left)


def why_class_left(count: int, samples: int, choice: MemberChoice) -> str | None:
    """Why the class is left out though ``count`` of the samples have one; None if it is kept: then samples without it are skipped."""
    if choice.wanted is not None or not 0 < count < samples:
        return None
    if choice.missing == "drop":
        return f"{counted(samples - count, 'sample')} without it"
    return "most samples lack it: --members cls,... keeps it, and skips the others" if 2 * count < samples else None


def _why_left(member: str, count: int, samples: int, choice: MemberChoice) -> str | None:
    """Why a member is not kept: "" if the user says so, None if it is kept."""
    if not choice.takes(member):
        return ""
    if not is_further_member(member):
        return f"not a name that a member can have: --members NAME={member} gives it one"
    if choice.missing == "drop" and count < samples:
        return f"{counted(samples - count, 'sample')} without it"
    if choice.missing == "skip" and choice.wanted is None and 2 * count < samples:
        return f"most samples lack it: --members {member} keeps it, --members-missing empty keeps the others too"
    return None
