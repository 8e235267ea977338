"""Calls functions of the user: how many arguments they take, and which random numbers they get.

A function of two arguments gets a generator of its own for every sample, and runs in many threads at once. One of one
argument may use the global generators of ``random``, numpy and torch. These are seeded for the sample before the
call and restored after it. They are shared by the whole process, so such functions run one at a time.
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

#: Purposes of random numbers, each with its own stream.
TRANSFORM, CAPTION, SAMPLE = 0, 1, 2
_GLOBAL = threading.Lock()


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers of an epoch: a function of seed, epoch and position, whatever the number of threads and ranks."""

    seed: int
    epoch: int

    def at(self, position: int, purpose: int = TRANSFORM) -> np.random.Generator:
        """The generator of one position."""
        key = np.array([self.seed, self.epoch], np.uint64)
        return np.random.Generator(np.random.Philox(counter=np.array([0, 0, purpose, position], np.uint64), key=key))


def takes_random(function: Callable[..., Any]) -> bool:
    """Whether a function takes a generator as its second argument: that has no default, or
    is called random.
    """  # noqa: D205
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False  # a C function, with one argument
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) > 1 and (places[1].default is inspect.Parameter.empty or places[1].name == "random")


def is_of_images(transform: Callable[..., Any]) -> bool:
    """Whether a ``transform`` is a function of images, as in version 0.1: its first parameter is called image."""
    try:
        first = next(iter(inspect.signature(transform).parameters), "")
    except (TypeError, ValueError):
        return False
    return first == "image"


class Function:
    """A user's function of one value, called with the right arguments and seeds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._two = takes_random(function)

    def __call__(self, value: Any, generator: np.random.Generator) -> Any:
        """Call the function on a value."""
        if self._two:
            return self._function(value, generator)
        with _GLOBAL:
            return _seeded(self._function, value, int(generator.integers(1 << 63)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self._function,)


def _seeded(function: Callable[..., Any], value: Any, seed: int) -> Any:
    torch: Any = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the generators that the function may use
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
    """The result of a transform of images, as an array or a tensor; a Pillow image becomes an array.

    Raises UsageError (``transform-result``) for anything else, so that nothing is lost silently.
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
        "image_transform did not return an image",
        code="transform-result",
        where="image_transform",
        expected="an array, a tensor or a Pillow image",
        got=_kind(result),
        hint="to change a whole sample use transform=, which takes and returns a dictionary with any fields",
    )


def as_array(result: Any) -> NDArray[Any] | None:
    """An array or a tensor as an array; None if numpy does not have the dtype."""
    try:
        return np.asarray(result)
    except TypeError:
        return None


def check_alike(result: Any, first: Any) -> None:
    """Raise UsageError if a transform's result differs from the first one in shape or dtype: nothing is cast silently."""
    if tuple(result.shape) != tuple(first.shape):
        raise UsageError(
            "the results of the transform differ in shape",
            code="transform-shape",
            expected=str(tuple(first.shape)),
            got=str(tuple(result.shape)),
            hint='fit="list" accepts results of any shape',
        )
    if _dtype(result) != _dtype(first):
        raise UsageError(
            "the results of the transform differ in dtype",
            code="transform-dtype",
            expected=_dtype(first),
            got=_dtype(result),
            hint='let it always return the same dtype; fit="list" accepts any',
        )


def _dtype(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def as_row(result: Any) -> dict[str, Any]:
    """The result of a transform of samples, as the fields of a row; raises UsageError (``transform-result``)."""
    if isinstance(result, Mapping) and all(isinstance(name, str) for name in result):
        return dict(result)
    raise UsageError(
        "transform did not return a dictionary",
        code="transform-result",
        where="transform",
        expected="a dictionary of the row's fields, like its argument",
        got=_kind(result),
        hint="image_transform= takes and returns an image; where= and keys= leave samples out",
    )


def _kind(value: Any) -> str:
    shape = f" of {len(value)}" if isinstance(value, tuple | list | dict) else ""
    return f"{type(value).__name__}{shape}"
