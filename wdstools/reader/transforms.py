"""Functions of the user's, called as they are: how many arguments they take, and what random numbers they see.

A function of two arguments gets a generator of its own for every sample, and runs in many threads at once. One of one
argument may draw from the global generators of ``random``, numpy and torch. These are seeded for the sample before the
call and put back after it. They are one for the whole process, so such functions take turns.
"""

from __future__ import annotations

import inspect
import random
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError
from wdstools.reader.members import is_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Purposes for which random numbers are drawn, each a stream of its own.
TRANSFORM, CAPTION, SAMPLE = 0, 1, 2
_GLOBAL = threading.Lock()


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers of an epoch: a function of seed, epoch and position, on any number of threads and ranks."""

    seed: int
    epoch: int

    def at(self, position: int, purpose: int = TRANSFORM) -> np.random.Generator:
        """The generator of one position."""
        key = np.array([self.seed, self.epoch], np.uint64)
        return np.random.Generator(np.random.Philox(counter=np.array([0, 0, purpose, position], np.uint64), key=key))


def takes_random(function: Callable[..., Any]) -> bool:
    """Whether a function takes a generator beside its first argument: it has a second one without a default, or one
    that is called random.
    """  # noqa: D205
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False  # of C, and of one argument
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) > 1 and (places[1].default is inspect.Parameter.empty or places[1].name == "random")


def is_of_images(transform: Callable[..., Any]) -> bool:
    """Whether a ``transform`` is one of images, as it was in version 0.1: its first parameter is called image."""
    try:
        first = next(iter(inspect.signature(transform).parameters), "")
    except (TypeError, ValueError):
        return False
    return first == "image"


class Function:
    """A user's function of one thing, called with the right arguments and seeds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._two = takes_random(function)

    def __call__(self, value: Any, generator: np.random.Generator) -> Any:
        """What the function makes of a value."""
        if self._two:
            return self._function(value, generator)
        with _GLOBAL:
            return _seeded(self._function, value, int(generator.integers(1 << 63)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self._function,)


def _seeded(function: Callable[..., Any], value: Any, seed: int) -> Any:
    torch: Any = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # what the function may draw from
    cpu = torch.get_rng_state() if torch is not None else None
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    if torch is not None:
        torch.default_generator.manual_seed(seed)
    try:
        return function(value)
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(cpu)


def as_image(result: Any) -> Any:
    """What a transform of images gave, as an array or a tensor; a picture of Pillow's becomes an array.

    Raises UsageError (``transform-result``) for what has no pixels: nothing is lost in silence.
    """
    if is_tensor(result):
        return result.detach()
    if isinstance(result, np.ndarray) and not result.dtype.hasobject:
        return result
    if type(result).__module__.startswith("PIL."):
        return np.array(result)
    if isinstance(result, np.generic):
        return np.asarray(result)
    raise UsageError(
        "a transform of images gave something else",
        code="transform-result",
        where="image_transform",
        expected="an array, a tensor or a Pillow image",
        got=_kind(result),
        hint="transform= takes and gives a whole sample, a dictionary with as many fields as you like",
    )


def as_array(result: Any) -> NDArray[Any] | None:
    """An array or a tensor as an array; None for a dtype that numpy does not have."""
    try:
        return np.asarray(result)
    except TypeError:
        return None


def check_alike(result: Any, first: Any) -> None:
    """Raise UsageError if a transform's result is not as the first one was: nothing is cast in silence."""
    if tuple(result.shape) != tuple(first.shape):
        raise UsageError(
            "a transform's results are not all of one shape",
            code="transform-shape",
            expected=str(tuple(first.shape)),
            got=str(tuple(result.shape)),
            hint='fit="list" takes results of any shape',
        )
    if _dtype(result) != _dtype(first):
        raise UsageError(
            "a transform's results are not all of one dtype",
            code="transform-dtype",
            expected=_dtype(first),
            got=_dtype(result),
            hint='let it always give the same; fit="list" takes any',
        )


def _dtype(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def as_row(result: Any) -> dict[str, Any]:
    """What a transform of samples gave, as the fields of a row; raises UsageError (``transform-result``)."""
    if isinstance(result, Mapping) and all(isinstance(name, str) for name in result):
        return dict(result)
    raise UsageError(
        "a transform of samples gave no dictionary",
        code="transform-result",
        where="transform",
        expected="a dictionary of the row's fields, as the one that it was given",
        got=_kind(result),
        hint="image_transform= takes and gives an image; where= and keys= leave samples out",
    )


def _kind(value: Any) -> str:
    shape = f" of {len(value)}" if isinstance(value, tuple | list | dict) else ""
    return f"{type(value).__name__}{shape}"
