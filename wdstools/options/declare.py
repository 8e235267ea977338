"""How options are declared, and how given values are checked against the declarations."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from wdstools.errors import UsageError, option

Choices = TypeVar("Choices")
#: A file or folder on this machine.
StrPath = str | os.PathLike[str]
_NOUNS: Mapping[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    types.NoneType: "None",
    os.PathLike: "a path",
    Sequence: "a list",
    tuple: "a pair",
    Iterable: "a list",
    Mapping: "a dictionary",
    Callable: "a function",
}


@dataclass(frozen=True, slots=True)
class Option:
    """An option, apart from its name and type: its default, and what it does.

    ``least`` and ``most`` bound a number, both inclusive. ``panel`` is the heading under which help lists the option. On
    the command line the option is ``--its-name``, or ``flag`` (several names, separated by spaces); ``metavar`` names its
    value there. ``read`` parses the text of a value and gets the flag for its error messages; ``shown`` is then the
    default as text. ``variable`` is the environment variable that sets the option, on the command line only.
    ``complete`` says what a shell completes where the type does not tell: one of ``cli.complete.KINDS``. ``written`` says
    that the text ends up in a dataset, so it must be valid UTF-8.
    """

    default: object
    help: str
    panel: str = ""
    least: float | None = None
    most: float | None = None
    flag: str = ""
    metavar: str = ""
    read: Callable[[str, str], object] | None = None
    shown: str | None = None
    variable: str = ""
    complete: str = ""
    written: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """An option with its name and type."""

    name: str
    kind: Any
    option: Option

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags on the command line, the full name first."""
        return tuple(self.option.flag.split()) or ("--" + self.name.replace("_", "-"),)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it may be; none if it is not a fixed choice."""
        kinds = [get_args(kind)[0] if get_origin(kind) is Sequence else kind for kind in parts(self.kind)]
        return tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))

    def check(self, value: object) -> object:
        """The value, if this option may have it; raises UsageError otherwise."""
        if not any(_fits(part, value) for part in parts(self.kind)) or (isinstance(value, str) and "\0" in value):
            raise UsageError(
                "no such choice" if self.choices else "not a valid value for this option",
                where=option(self.name),
                expected=self._expected(),
                got=_given(value),
            )
        if self.option.written and isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UsageError("not UTF-8 text", where=option(self.name), got=ascii(value))
        least, most = self.option.least, self.option.most
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        if isinstance(number, int) and most is None and number > _MOST:
            most = _MOST
        if number is not None and ((least is not None and number < least) or (most is not None and number > most)):
            raise UsageError("out of range", where=option(self.name), expected=_range(least, most), got=str(number))
        return value

    def _expected(self) -> str:
        kinds = [get_origin(kind) or kind for kind in parts(self.kind) if kind is not types.NoneType]
        plain = [kind for kind in kinds if kind is not Literal and not (kind is Sequence and self.choices)]
        words = [*self.choices, *(_NOUNS.get(kind, str(kind)) for kind in plain)]
        return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


#: The largest whole number that every format and library represents exactly.
_MOST = 2**53 - 1


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return f"at least {least:,}" if least is not None else f"at most {most:,}"
    return f"{least:,} to {most:,}"


def parts(kind: Any) -> tuple[Any, ...]:
    """The types in a union; any other type by itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _given(value: object) -> str:
    """A value as the user gave it."""
    if isinstance(value, tuple | list) and value and all(isinstance(item, str) and item for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) and value else repr(value)


def _fits(kind: Any, value: object) -> bool:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is Sequence:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return False
        return all(any(_fits(inner, item) for inner in parts(get_args(kind)[0])) for item in value)
    return isinstance(value, origin)


def declared(kind: Any) -> tuple[Declared, ...]:
    """The options of a ``TypedDict``, in the order of their declaration."""
    return _declared(kind)


@functools.cache
def _declared(kind: Any) -> tuple[Declared, ...]:
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{kind.__name__}.{name} is not declared: Annotated[type, Option(...)]")
        base, made = get_args(hint)
        found.append(Declared(name, base, made))
    return tuple(found)


def settle(kind: type[Choices], given: Choices) -> Choices:
    """All options of ``kind``: the given ones, checked, and defaults for the rest; raises UsageError."""
    known = {entry.name: entry for entry in declared(kind)}
    values = cast("dict[str, object]", given)
    for name in values:
        if name not in known:
            raise _no_such(name, known)
    settled = {name: entry.check(values.get(name, entry.option.default)) for name, entry in known.items()}
    return cast("Choices", settled)


def _no_such(name: str, known: Mapping[str, object]) -> UsageError:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    message = f"no option {name}" + (f"; did you mean {near[0]}?" if near else "")
    return UsageError(message, code="no-such-option", expected="" if near else ", ".join(known))


def part(kind: type[Choices], settled: Mapping[str, object]) -> Choices:
    """The subset of settled options that belong to ``kind``."""
    return cast("Choices", {entry.name: settled[entry.name] for entry in declared(kind)})
