"""Put a change into a process that has already loaded the module: only the code of the functions that differ."""

from __future__ import annotations

import gc
from collections import defaultdict
from types import CodeType, FunctionType

_IS_FUNCTION = 0x1  # CO_OPTIMIZED: a function's code, not that of a class or a module


class Functions:
    """The functions of this process, by their code: every reference to one sees it change."""

    def __init__(self, modules: set[str]) -> None:
        self._of: dict[tuple[str, CodeType], list[FunctionType]] = defaultdict(list)
        gc.unfreeze()  # what is frozen is not listed
        for each in gc.get_objects():
            if isinstance(each, FunctionType) and each.__code__.co_filename in modules:
                self._of[each.__code__.co_filename, each.__code__].append(each)
        gc.freeze()

    def put(self, module: str, before: CodeType, after: CodeType) -> bool:
        """Put the change in place; False if only reloading the module can do that."""
        pairs = differing(before, after)
        if not pairs:
            return False
        if any(not self._of[module, old] for old, _, is_outermost in pairs if is_outermost):
            return False
        for old, new, _ in pairs:
            for function in self._of[module, old]:
                if len(function.__code__.co_freevars) != len(new.co_freevars):
                    return False
                function.__code__ = new
        return True


def differing(before: CodeType, after: CodeType) -> list[tuple[CodeType, CodeType, bool]] | None:
    """The functions that differ, and whether each is outermost; None if code that runs on loading the module differs."""
    if _own(before) != _own(after):
        return None
    found = []
    for old, new in zip(_within(before), _within(after), strict=True):
        if old.co_flags & _IS_FUNCTION:
            found += [] if old == new else [(old, new, True), *_inner(old, new)]
        else:
            deeper = differing(old, new)
            if deeper is None:
                return None
            found += deeper
    return found


def _inner(before: CodeType, after: CodeType) -> list[tuple[CodeType, CodeType, bool]]:
    """The functions inside a function, because existing instances of them change too."""
    pairs = zip(_within(before), _within(after), strict=False)
    return [each for old, new in pairs if old != new for each in [(old, new, False), *_inner(old, new)]]


def _within(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _own(code: CodeType) -> tuple[object, ...]:
    constants = [(type(each), repr(each)) for each in code.co_consts if not isinstance(each, CodeType)]
    return (code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants, len(_within(code)))
