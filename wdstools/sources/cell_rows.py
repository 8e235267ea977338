"""The cells of delimited text, row by row, so that an unclosed quote damages only its own line."""

from __future__ import annotations

import csv
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class CellRows:
    """Each row with the number of its first line. Raises csv.Error for one that cannot be read; ``number`` is its line then.

    A row may have line breaks in quotes. If its quotes are not closed properly, its first line is damaged, and the lines that
    they enclosed are rows of their own.
    """

    def __init__(self, lines: Iterable[str], delimiter: str, *, blank: bool) -> None:
        self.number = 0
        self._lines = _Lines(lines)
        self._delimiter, self._blank = delimiter, blank
        self._rows = csv.reader(self._lines, delimiter=delimiter, skipinitialspace=blank)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Itself."""
        return self

    def __next__(self) -> tuple[int, list[str]]:
        """The next row."""
        taken = self._lines.taken
        taken.clear()
        try:
            row = next(self._rows)
            if len(taken) > 1 or taken[0][1].count('"') % 2:
                self._read_strictly()
        except csv.Error:
            self._lines.give_back(1)
            raise
        finally:
            self.number = taken[0][0] if taken else self.number
        return self.number, row

    def _read_strictly(self) -> None:
        """Raise csv.Error if a quote does not end before a delimiter, or not at all."""
        lines = [text for _, text in self._lines.taken]
        next(csv.reader(lines, delimiter=self._delimiter, skipinitialspace=self._blank, strict=True))


class _Lines:
    """Numbered lines; those ``taken`` last can be given back, even at the end."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.taken: list[tuple[int, str]] = []
        self._lines = enumerate(lines, 1)
        self._again: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line[1]

    def give_back(self, after: int) -> None:
        """Give back the lines taken last, except the first ``after``."""
        self._again.extendleft(reversed(self.taken[after:]))
        del self.taken[after:]
