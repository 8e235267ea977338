"""A tree without the files that the user excludes: they are not looked at, and count as ignored."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache
from typing import TYPE_CHECKING

from wdstools.sources.base import join_path
from wdstools.sources.tree import Folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wdstools.results import Skip
    from wdstools.sources.base import SourceOpener
    from wdstools.sources.tree import Tree


def ignoring(path: str, patterns: Collection[str]) -> list[str]:
    """The patterns that match a file's path, its name, or one of the folders that it is in.

    A pattern can start in any folder; one that begins with ``/`` starts at the root.
    """
    return [pattern for pattern in patterns if _expression(pattern).match(path)] if patterns else []


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    plain = pattern.removeprefix("./").rstrip("/")
    inner = translate(plain.lstrip("/")).removesuffix(r"\Z").removesuffix(r"\z")
    before = "" if plain.startswith("/") else "(?:.*/)?"
    return re.compile(f"(?s:{before}{inner}(?:/.*)?)\\Z")


def is_ignored(path: str, patterns: Collection[str]) -> bool:
    """Whether a pattern matches a file's path, its name, or one of the folders that it is in."""
    return bool(ignoring(path, patterns))


def unused(patterns: Sequence[str], used: Collection[str]) -> list[str]:
    """Notes about patterns that match no file, which is probably a mistake. Hidden files are never looked at."""
    idle = [pattern for pattern in dict.fromkeys(patterns) if pattern not in used]
    return [
        f"--ignore {pattern} matches no file"
        for pattern in idle
        if not pattern.rstrip("/").rpartition("/")[2].startswith(".")
    ]


class IgnoringTree:
    """A tree that does not list files matched by patterns."""

    def __init__(self, tree: Tree, patterns: Sequence[str]) -> None:
        self.whole = tree
        self._patterns = tuple(patterns)

    @property
    def opener(self) -> SourceOpener:
        """Opens any file of the tree."""
        return self.whole.opener

    @property
    def skips(self) -> list[Skip]:
        """Files that cannot be read and are not ignored."""
        return [skip for skip in self.whole.skips if not is_ignored(skip.path, self._patterns)]

    def used(self) -> set[str]:
        """The patterns that match unreadable files, which no folder lists."""
        return {pattern for skip in self.whole.skips for pattern in ignoring(skip.path, self._patterns)}

    @property
    def notes(self) -> list[str]:
        """See Tree."""
        return self.whole.notes

    def list(self, folder: str) -> Folder | None:
        """The contents of a folder without ignored files."""
        held = self.whole.list(folder)
        if held is None:
            return None
        kept = [at for at, name in enumerate(held.files) if not is_ignored(join_path(folder, name), self._patterns)]
        entries = [held.entries[at] for at in kept] if held.entries is not None else None
        folders = [name for name in held.folders if not is_ignored(join_path(folder, name), self._patterns)]
        return Folder(folders, [held.files[at] for at in kept], entries, held.hidden)

    def close(self) -> None:
        """See Tree."""
        self.whole.close()
