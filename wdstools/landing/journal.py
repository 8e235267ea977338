"""What a pack or a pull has finished, noted line by line, so that the next run continues after it."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from wdstools.stores.abilities import sync_file
from wdstools.stores.kept_files import is_own
from wdstools.stores.local import appending_fd, buffered_plain


class Journal:
    """JSON lines, each durable before the next is begun; a torn last line is dropped."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._end: int | None = None
        #: Whether the file that was read belongs to this user, and nobody else may write to it.
        self.is_own = False

    def lines(self) -> list[dict[str, Any]]:
        """The lines."""
        return self._read()[0]

    def landing(self) -> dict[str, Any] | None:
        """The line that says that everything was finished and about to be published."""
        return next((line for line in reversed(self.lines()) if "landing" in line), None)

    def append(self, line: dict[str, Any]) -> None:
        """Note a line."""
        if self._end is None:
            self._end = self._read()[1]
        data = (json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n").encode()
        with os.fdopen(appending_fd(self._path), "ab", buffering=0) as file:
            if file.tell() != self._end:
                file.truncate(self._end)
            file.write(data)
            sync_file(file.fileno())
        self._end += len(data)

    def remove(self) -> None:
        """Delete the journal, to begin again."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._end = None

    def _read(self) -> tuple[list[dict[str, Any]], int]:
        """The complete lines, and the offset of their end."""
        lines: list[dict[str, Any]] = []
        end = 0
        try:
            with buffered_plain(self._path) as file:
                self.is_own = is_own(os.fstat(file.fileno()))
                for raw in file:
                    if not raw.endswith(b"\n"):
                        break  # torn by a crash: that shard is made again
                    found = json.loads(raw)
                    if not isinstance(found, dict):
                        break
                    lines.append(found)
                    end += len(raw)
        except FileNotFoundError:
            return [], 0
        except (ValueError, RecursionError):
            pass
        return lines, end
