"""Which split a sample belongs to: by its folder, by lists, or by exact ratio."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError
from wdstools.foreign.split_names import DEFAULT_SPLIT
from wdstools.formats.sample import split_hash
from wdstools.planning.place import hash_keys
from wdstools.planning.split_lines import listed
from wdstools.results import Skip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.planning.table import Samples


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How splits are decided; at most one of the fields is set. If none is, the source decides.

    ``one``: every sample is in this split. ``ratios``: split -> weight, in the order given. ``lists``: split -> the
    lines of a list file, each ``label/id`` or ``label/id,...``.
    """

    one: str | None = None
    ratios: Mapping[str, Fraction] | None = None
    lists: Mapping[str, Sequence[str]] | None = None


#: More is a mistake, and a far larger weight could not even be displayed.
_MOST_WEIGHT = 10**15
#: An exponent of three or more digits, leading zeros aside: the number would have that many digits.
_HUGE_RE = re.compile(r"e[+-]?[0_]*[1-9](?:_?\d){2}", re.IGNORECASE)


def weight_of(text: str) -> Fraction:
    """The weight that a text stands for; raises ValueError if it is not a number or not allowed."""
    if _HUGE_RE.search(text):
        raise ValueError(text)
    try:
        weight = Fraction(text)
    except ZeroDivisionError:
        raise ValueError(text) from None
    if not 0 <= weight <= _MOST_WEIGHT:
        raise ValueError(text)
    return weight


def parse_ratios(text: str) -> dict[str, Fraction] | None:
    """``train=80,val=5,test=15`` as weights; None if it is not of that form."""
    ratios: dict[str, Fraction] = {}
    for part in text.split(","):
        name, equals, number = part.partition("=")
        try:
            weight = weight_of(number)
        except ValueError:
            return None
        if not equals or not name or name in ratios:
            return None
        ratios[name] = weight
    return ratios if sum(ratios.values()) > 0 else None


def odd_sum(ratios: Mapping[str, Fraction]) -> list[str]:
    """A note on ratios that were surely meant as percentages or fractions, but by mistake do not sum to 100 or 1."""
    total = sum(ratios.values(), Fraction())
    fractions = any(weight.denominator > 1 for weight in ratios.values())
    for whole in (1, 100):
        above = total > whole if whole > 1 else fractions and 1 < total < _SEVERAL_WHOLES
        if above or (total != whole and 10 * abs(total - whole) <= whole):
            shares = ", ".join(f"{split} {float(100 * weight / total):.2f} %" for split, weight in ratios.items())
            return [f"the ratios sum to {float(total):g}, not {whole}, and were taken in proportion: {shares}"]
    return []


#: Numbers whose sum is higher than this were not meant as fractions of one.
_SEVERAL_WHOLES = 3


def assign_splits(
    samples: Samples, rule: SplitRule, *, seed: int, identical: NDArray[np.int64] | None = None
) -> tuple[Samples, list[Skip], list[str]]:
    """Set the ``split`` column; returns the table, the samples and list entries left out, and notes for the user.

    ``identical`` (for ratios) numbers the samples so that byte-identical images have the same number.
    """
    if rule.ratios is not None:
        names, notes = _by_ratio(samples, rule.ratios, seed, identical)
        return samples.with_splits(names), [], [*odd_sum(rule.ratios), *notes]
    if rule.lists is not None:
        return _by_lists(samples, rule.lists)
    if rule.one is not None:
        return samples.with_splits([rule.one] * len(samples)), [], []
    if not samples.there("split").all():
        return samples.with_split_of_the_rest(DEFAULT_SPLIT), [], []
    return samples, [], []


def _by_lists(samples: Samples, lists: Mapping[str, Sequence[str]]) -> tuple[Samples, list[Skip], list[str]]:
    wanted: dict[bytes, str] = {}
    skips: list[Skip] = []
    for split, entry, key in listed(lists):
        if key is None:
            skips.append(Skip("list-invalid", entry, split))
        else:
            note_listed(wanted, key, split)
    keys, first = samples.texts("key"), next(iter(wanted), b"")
    kept, more = divide_listed(samples, wanted)
    if not len(kept):
        raise nothing_listed(keys[0] if keys else b"", first)
    return kept, [*skips, *more], []


def note_listed(wanted: dict[bytes, str], key: bytes, split: str) -> None:
    """Note the split of a key; raises UsageError (``split-lists``) if it already has another."""
    if wanted.setdefault(key, split) != split:
        raise UsageError(
            "a sample is in two split lists", code="split-lists", where=key.decode(), got=f"{wanted[key]} and {split}"
        )


def divide_listed(samples: Samples, wanted: dict[bytes, str]) -> tuple[Samples, list[Skip]]:
    """The samples on split lists, with their splits; skips for the others and for listed keys without a sample."""
    keys = samples.texts("key")
    names = [wanted.pop(key, None) for key in keys]
    skips = without_samples(wanted)
    skips += [
        Skip("split-not-listed", key.decode(), None, key.decode())
        for key, name in zip(keys, names, strict=True)
        if name is None
    ]
    kept = samples.keep([name is not None for name in names])
    return kept.with_splits([name for name in names if name is not None]), skips


def without_samples(wanted: Mapping[bytes, str]) -> list[Skip]:
    """Skips for listed keys that no sample has."""
    why = "in a split list, but no sample with this id can be packed"
    return [Skip("sample-missing", key.decode(), split, key.decode(), why) for key, split in wanted.items()]


def nothing_listed(key: bytes, line: bytes) -> UsageError:
    """The error for split lists that name no sample, with the key of a sample and that of a line."""
    return UsageError(
        "no line of the split lists names a sample of this source",
        code="split-lists",
        expected=f"ids like {key.decode() or '-'}",
        got=line.decode() or "no lines",
    )


def _by_ratio(
    samples: Samples, ratios: Mapping[str, Fraction], seed: int, identical: NDArray[np.int64] | None
) -> tuple[list[str], list[str]]:
    """Exact counts per label, in hash order; samples with byte-identical images stay together.

    Groups of identical images are placed first, each by the position of its smallest hash between 0 and 2**64, if all
    its labels have room there; single samples, in hash order, then fill each label's counts exactly.
    """
    splits = list(ratios)
    label_of, labels = samples.named("label")
    names = {-1: "", **dict(enumerate(labels))}
    hashes = hash_keys(samples, lambda key: split_hash(key, seed))
    order = np.argsort(hashes, kind="stable")
    counts = zip(*np.unique(label_of, return_counts=True), strict=True)
    room = Room.of({names[label]: int(count) for label, count in counts}, ratios)
    chosen = np.full(len(samples), -1, np.int16)
    for rows in _groups(order, identical):
        chosen[rows] = room.place([names[label] for label in label_of[rows].tolist()], int(hashes[rows[0]]))
    for label, name in names.items():
        singles = order[(chosen[order] < 0) & (label_of[order] == label)]
        chosen[singles] = np.searchsorted(room.ends(name), np.arange(len(singles)), side="right")
        room.take(name, len(singles))
    return [splits[number] for number in chosen.tolist()], room.notes()


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of each label's counts, by label ("" for none) and split, while samples are being placed."""

    ratios: Mapping[str, Fraction]
    left: dict[str, dict[str, int]]

    @classmethod
    def of(cls, counts: Mapping[str, int], ratios: Mapping[str, Fraction]) -> Room:
        """The room for these numbers of samples per label."""
        return cls(ratios, {label: _quotas(count, ratios) for label, count in counts.items()})

    def place(self, labels: list[str], first_hash: int) -> int:
        """The number of the split that a group of samples with these labels goes to."""
        split = _split_for_group(labels, first_hash, self.left, self.ratios)
        for label in labels:
            self.left[label][split] -= 1
        return list(self.ratios).index(split)

    def ends(self, label: str) -> NDArray[np.int64]:
        """For each split but the last, which of a label's single samples, in hash order, is the first of the next split."""
        counts = [max(self.left[label][split], 0) for split in self.ratios] if label in self.left else []
        return np.cumsum(counts)[:-1].astype(np.int64)

    def take(self, label: str, singles: int) -> None:
        """Place this many single samples of a label."""
        if label in self.left:
            edges = [0, *np.minimum(self.ends(label), singles).tolist(), singles]
            for split, (start, stop) in zip(self.ratios, itertools.pairwise(edges), strict=True):
                self.left[label][split] -= stop - start

    def notes(self) -> list[str]:
        """A note if counts deviate from the ratios."""
        off = [
            f"{label or 'all'}/{split} by {-n:+d}"
            for label, left in self.left.items()
            for split, n in left.items()
            if n
        ]
        return (
            [f"identical images kept together: counts differ from the exact ratio in {', '.join(off)}"] if off else []
        )


def _groups(order: NDArray[np.int64], identical: NDArray[np.int64] | None) -> list[NDArray[np.int64]]:
    """The rows of each image that occurs in several samples, in hash order; groups in order of their first row."""
    if identical is None or not len(order):
        return []
    numbers = identical[order]
    repeated = order[np.bincount(numbers)[numbers] > 1]
    groups: dict[int, list[int]] = {}
    for row in repeated.tolist():
        groups.setdefault(int(identical[row]), []).append(row)
    return [np.array(rows, np.int64) for rows in groups.values()]


def _split_for_group(
    labels: list[str], first_hash: int, room: Mapping[str, Mapping[str, int]], ratios: Mapping[str, Fraction]
) -> str:
    reached = zip(ratios, itertools.accumulate(ratios.values()), strict=True)
    total = sum(ratios.values())
    wanted = next(split for split, weight in reached if first_hash * total < weight * 2**64)
    order = [wanted, *sorted(ratios, key=lambda split: -ratios[split])]
    needed = Counter(labels)
    fitting = (split for split in order if all(room[label][split] >= count for label, count in needed.items()))
    return next(fitting, wanted)


def _quotas(total: int, ratios: Mapping[str, Fraction]) -> dict[str, int]:
    """Integer counts in proportion, by largest remainder; ties go to the split named first."""
    weight = sum(ratios.values())
    exact = {split: total * share / weight for split, share in ratios.items()}
    counts = {split: int(value) for split, value in exact.items()}
    by_remainder = sorted(ratios, key=lambda split: counts[split] - exact[split])
    for split in by_remainder[: total - sum(counts.values())]:
        counts[split] += 1
    return counts
