"""Count every call that changes a file system; at a chosen one, something happens instead or right after."""

from __future__ import annotations

import builtins
import os
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

#: Functions of ``os`` that create, fill, rename and remove files.
WRITING = ("write", "fsync", "rename", "unlink", "mkdir", "rmdir", "ftruncate", "copy_file_range", "sendfile")
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class WritePoints:
    """Counts the calls; at number ``stop`` calls ``act``: before the real one, or ``after`` it.

    With ``about``, only calls with that name count: the function and its subject, like ``os.rename a/b``; a line break
    after it makes it the whole name.
    """

    def __init__(self, stop: int, act: Callable[[], None], *, after: bool = False, about: str = "") -> None:
        self.seen = 0
        self.names: list[str] = []
        self._stop = stop
        self._act = act
        self._after = after
        self._about = about
        self._undo: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Self:
        for name in WRITING:
            self._replace(os, name, lambda *_, **__: True)
        self._replace(os, "open", lambda _, flags=0, *__, **___: bool(flags & WRITE_FLAGS))
        self._replace(builtins, "open", lambda _, mode="r", *__, **___: any(c in mode for c in "wax+"))
        return self

    def __exit__(self, *_: object) -> None:
        for module, name, real in self._undo:
            setattr(module, name, real)

    def _replace(self, module: Any, name: str, counts: Callable[..., bool]) -> None:
        real = getattr(module, name)
        self._undo.append((module, name, real))

        def call(*arguments: Any, **named: Any) -> Any:
            called = f"{module.__name__}.{name} {arguments[0] if arguments else ''}"
            if not counts(*arguments, **named) or self._about not in f"{called}\n":
                return real(*arguments, **named)
            self.seen += 1
            self.names.append(called)
            if self.seen == self._stop and not self._after:
                self._act()
            value = real(*arguments, **named)
            if self.seen == self._stop and self._after:
                if module is not os or name == "open":
                    getattr(value, "close", lambda: os.close(value))()
                self._act()
            return value

        setattr(module, name, call)
