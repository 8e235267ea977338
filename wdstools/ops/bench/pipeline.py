"""The steps applied to images in training: named pipelines, and user functions."""

from __future__ import annotations

import importlib
import os
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.given import Calling
from wdstools.reader import image as steps
from wdstools.reader.decode import Decoder
from wdstools.reader.transforms import Draws, Function

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.options.check import BenchChoices


def steps_of(options: BenchChoices) -> Callable[..., Any] | None:
    """The steps applied to images, if any; raises UsageError for a function that cannot be found."""
    named, transform = options["pipeline"], options["transform"]
    if named is not None and transform is not None:
        raise UsageError(
            "two pipelines are given", where=option("transform"), expected=f"none with {option('pipeline')}"
        )
    if named is not None:
        return _named(named)
    return None if transform is None else _found(transform)


def _named(name: str) -> steps.Pipeline:
    if name == "clip":  # as open_clip trains
        crop = steps.random_resized_crop(224, scale=(0.9, 1.0), interpolation="bicubic")
        return steps.pipeline(crop, steps.normalize(*steps.CLIP))
    return steps.pipeline(steps.random_resized_crop(224), steps.flip(), steps.normalize())


def _found(text: str) -> Callable[..., Any]:
    """The function that ``module:name`` names, also looked for in the working folder."""
    module, _, name = text.partition(":")
    where = option("transform")
    if not module or not name:
        raise UsageError("not a function", where=where, expected="module:name", got=text)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with Calling(f"{where} {text}", "while it was imported"):
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise UsageError("the module cannot be imported", where=where, got=f"{module}: {error}") from error
    function = getattr(found, name, None)
    if not callable(function):
        known = ", ".join(sorted(one for one in vars(found) if one[0] != "_" and callable(vars(found)[one]))[:10])
        raise UsageError("the module has no such function", where=where, expected=known, got=text)
    return Told(function, text)


class Told:
    """The user's function, with its errors reported as its own. It takes the same arguments, and pickles the same way."""

    def __init__(self, function: Callable[..., Any], text: str) -> None:
        self.__wrapped__ = function
        self._text = text

    def __call__(self, *given: Any) -> Any:
        """What the function returns."""
        with Calling(f"{option('transform')} {self._text}"):
            return self.__wrapped__(*given)


def decode_through(transform: Callable[..., Any]) -> Callable[[bytes | memoryview], Any]:
    """What one thread does to each image: decode it and apply the steps."""
    decoder, numbers, draws = Decoder("rgb", None), count(), Draws(0, 0)
    if isinstance(transform, steps.Pipeline):
        place = np.empty(transform.shape(3), transform.dtype)

        def fused(data: bytes | memoryview) -> Any:
            generator = draws.at(next(numbers))
            if not transform.decode(memoryview(data), decoder.colorspace, generator, place):
                transform.apply(decoder.alone(memoryview(data)), generator, place)

        return fused
    function = Function(transform)
    return lambda data: function(decoder.alone(memoryview(data)), draws.at(next(numbers)))
