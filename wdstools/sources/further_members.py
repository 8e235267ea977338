"""Further members next to images in folders: arrays, sound, masks such as ``x.mask.png``; found by name, selected as for shards."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.arrow import kept, valid
from wdstools.formats.sample import is_further_member
from wdstools.results import Skip
from wdstools.sources.base import entry_part, image_paths, path_part, text_columns
from wdstools.sources.members import MemberChoice, choose_members
from wdstools.sources.source_words import METADATA_OF_ONE, extension_of, is_image, kind_of
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

_KINDS = ("arrays", "sound and video")


@dataclass(slots=True)
class Further:
    """The further members of a tree: their files, by member and folder."""

    choice: MemberChoice = field(default_factory=MemberChoice)
    files: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def apart(self, images: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Images that are members of others, such as ``x.mask.png`` of ``x.jpg``: stem -> (stem of the other, member).

        Only if most of the others have one: a single ``x.edited.jpg`` next to ``x.jpg`` is an image of its own.
        """
        found: dict[str, tuple[str, str]] = {}
        for stem, suffix in images.items():
            base, dot, middle = stem.rpartition(".")
            member = f"{middle}{suffix}".lower()
            if dot and base in images and not middle.isdigit() and is_further_member(member):
                found[stem] = (base, member)
        counts = Counter(member for _, member in found.values())
        others = len(images) - len(found)
        return {stem: (base, member) for stem, (base, member) in found.items() if 2 * counts[member] > others}

    def of_folder(self, names: Iterable[str], images: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """The further members, other than images, of each image of a folder: stem -> member -> file."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for name in names:
            if is_image(name) or not (kind_of(name) in _KINDS or extension_of(name) in METADATA_OF_ONE):
                continue
            stem, _, extension = name.rpartition(".")
            owner = stem if stem in images else next((s for s in (_before_dot(stem),) if s in images), None)
            member = name[len(owner) + 1 :].lower() if owner is not None else ""
            if owner is None and is_image(stem):  # x.jpg.npy
                owner, member = stem.rpartition(".")[0], extension.lower()
            if owner is not None and owner in images and is_further_member(member):
                found[owner].setdefault(self.called(member), name)
        return found

    def called(self, member: str) -> str:
        """The name under which a member is packed."""
        return next((name for name, source in self.choice.renamed if source == member), member)

    def finish(self, samples: pa.Table) -> tuple[pa.Table, tuple[str, ...], list[Skip]]:
        """The samples with the kept members, these members, and skips for samples that lack one and for members left out."""
        counts = {member: sum(map(len, folders.values())) for member, folders in self.files.items()}
        chosen = choose_members(counts, samples.num_rows, self.choice)
        skips = [
            Skip("member-left-out", f"*.{name}", detail=f"in {counted(count, 'sample')}: {why}")
            for name, (count, why) in chosen.left.items()
        ]
        for member in counts:
            if member not in chosen.kept:
                samples = samples.drop_columns([p for p in _parts(member) if p in samples.column_names])
        for member in chosen.kept if self.choice.missing == "skip" else ():
            keep = np.zeros(samples.num_rows, bool)
            for part in (p for p in _parts(member) if p in samples.column_names):
                keep |= valid(samples.column(part))
            lost = kept(samples, ~keep)
            skips += [
                Skip("member-missing", path, split, detail=f"no {member}: --members-missing empty keeps it")
                for path, split in zip(image_paths(lost), text_columns(lost, ("split",))[0], strict=True)
            ]
            samples = kept(samples, keep)
        return samples, chosen.kept, skips


def _parts(member: str) -> tuple[str, str]:
    return path_part(member), entry_part(member)


def _before_dot(stem: str) -> str:
    return stem.partition(".")[0]
