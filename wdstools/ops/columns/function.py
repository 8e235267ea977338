"""User functions: whether they can be sent to other processes, and a digest of their code, arguments and variables."""

from __future__ import annotations

import functools
import hashlib
import pickle
from types import CellType, CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.executors.local import Serial, Threads
from wdstools.given import Calling

if TYPE_CHECKING:
    from wdstools.executors.base import Executor

_PLAIN = (int, float, complex, str, bytes, bool, type(None))


def name_of(function: Any) -> str:
    """The name of a function in messages."""
    inner = _inner(function)
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def module_of(function: Any) -> str:
    """The module that a function comes from."""
    inner = _inner(function)
    return str(getattr(inner, "__module__", type(inner).__module__))


def digest_of(function: Any) -> str | None:
    """A digest that stays the same from run to run as long as the function does; None if there is no telling.

    It covers the code, the defaults, the variables of enclosing functions, the arguments of a ``partial``, the object of a
    method, and what the code uses from its own module: functions and plain values. Other modules, files and objects in
    global variables are not covered.
    """
    sink = _Hash()
    try:
        with Calling(name_of(function)):  # pickling an object runs its own methods
            _Pickler(sink, module_of(function)).dump(_marked(function))
    except UsageError:
        return None
    return sink.digest.hexdigest()


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _marked(function: Any) -> tuple[Any, ...]:
    """A function and, for a callable object, the methods of its class."""
    inner = _inner(function)
    owner = type(inner.__self__) if isinstance(inner, MethodType) else type(inner)
    if isinstance(inner, type) or owner.__module__ in ("builtins", "functools"):
        return (function,)
    methods = [
        (name, getattr(value, "__func__", value))
        for one in owner.__mro__
        if one.__module__ == owner.__module__
        for name, value in sorted(vars(one).items())
        if isinstance(getattr(value, "__func__", value), FunctionType)
    ]
    return (function, methods)


class _Hash:
    """A file object that hashes what is written."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take some bytes."""
        self.digest.update(data)
        return len(data)


class _Pickler(pickle.Pickler):
    """Pickles functions by content instead of by name."""

    def __init__(self, sink: _Hash, module: str) -> None:
        super().__init__(sink, 5)
        self.fast = True  # no memo: whether two equal texts are one object differs from run to run
        self._module = module
        self._seen: dict[int, object] = {}

    def reducer_override(self, found: Any) -> Any:
        """The replacement for a function, its code, or a variable that it closes over."""
        if isinstance(found, FunctionType):
            return tuple, (self._function(found),)
        if isinstance(found, CodeType):
            return tuple, (_code(found),)
        if isinstance(found, CellType):
            return tuple, (_cell(found),)
        if isinstance(found, functools.partial):
            keywords = [(name, _ordered(value)) for name, value in sorted(found.keywords.items())]
            return tuple, (["partial", found.func, _ordered(found.args), keywords, vars(found)],)
        if isinstance(found, MethodType):
            return tuple, (["method", found.__func__, found.__self__],)
        return NotImplemented

    def _function(self, found: FunctionType) -> list[Any]:
        named = ["function", found.__module__, found.__qualname__]
        if id(found) in self._seen:
            return named
        self._seen[id(found)] = found
        closure = [_ordered(_cell(cell)) for cell in found.__closure__ or ()]
        defaults = [_ordered(value) for value in found.__defaults__ or ()]
        keywords = [(name, _ordered(value)) for name, value in sorted((found.__kwdefaults__ or {}).items())]
        return [*named, found.__code__, defaults, keywords, closure, self._globals(found)]

    def _globals(self, found: FunctionType) -> list[tuple[str, Any]]:
        """The functions and plain values of its own module that a function names."""
        if found.__module__ != self._module:
            return []
        named = [(name, found.__globals__.get(name)) for name in sorted(_names(found.__code__))]
        return [
            (name, _ordered(value))
            for name, value in named
            if _is_plain(value) or (isinstance(value, FunctionType) and value.__module__ == self._module)
        ]


def _names(code: CodeType) -> set[str]:
    inner = [_names(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inner)


def _code(code: CodeType) -> list[Any]:
    """Code without its line numbers."""
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    consts = [_ordered(value) for value in code.co_consts]
    return [code.co_name, code.co_code, getattr(code, "co_exceptiontable", b""), names, counts, consts]


def _cell(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "an empty cell"


def _ordered(value: Any) -> Any:
    """A value with its sets in an order that does not depend on the process."""
    if isinstance(value, set | frozenset):
        return ["set", sorted(map(repr, value))]
    return tuple(map(_ordered, value)) if type(value) is tuple else value


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if type(value) in (tuple, frozenset) else isinstance(value, _PLAIN)


def refuse_unnamed(function: Any, executor: Executor) -> None:
    """Refuse a function that other processes cannot import; raises UsageError (``function-unnamed``)."""
    if isinstance(executor, Serial | Threads):
        return
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            "this function cannot be sent to other processes: they import it by name",
            code="function-unnamed",
            where=name_of(function),
            got=str(error)[:200],
            hint="define it at the top level of a module, or compute in this process: without an executor, or with threads",
        ) from error
