"""Crop, resize, mirror and normalise images in the threads that decode them, without Python's lock (the GIL).

    import wdstools as wt

    train = wt.image.pipeline(
        wt.image.random_resized_crop(224),
        wt.image.flip(),
        wt.image.normalize(*wt.image.CLIP, dtype="float16"),
        layout="NCHW",
    )
    loader = wt.torch.loader("shards", batch_size=64, image_transform=train)

The random part is a function of seed, epoch and position: the same on any number of threads, workers and ranks.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wdstools.errors import UsageError
from wdstools.images.box import Box
from wdstools.images.check import DEFAULT_MAX_PIXELS
from wdstools.reader.decode import MAX_SIDE, is_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.images.resample import Resampling

#: Mean and standard deviation of red, green and blue, from 0 to 1, with which torchvision's models and CLIP were trained.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

_ATTEMPTS = 10
_DRAWN = 4 * _ATTEMPTS
#: JPEGs are decoded at a half, a quarter or an eighth of their size if the part is then still this much larger than the result.
_MARGIN = 1.25
_SCALES = (8, 4, 2)

Interpolation = Literal["bilinear", "bicubic"]
Layout = Literal["NHWC", "NCHW"]


@dataclass(frozen=True, slots=True)
class Crop:
    """Which part of an image is taken, and at which size; made by ``random_resized_crop`` and ``resize_crop``."""

    size: tuple[int, int]
    interpolation: str
    scale: tuple[float, float] | None = None
    ratio: tuple[float, float] = (1.0, 1.0)
    resize: int = 0
    #: For a shape close to the image's own: how much of the largest part that fits is taken, in place of ``resize``.
    covered: float = 0.0

    def at(self, shape: tuple[int, int]) -> Crop:
        """The same crop at another shape: a random part varies around the aspect ratio of that shape as it did around this one's."""
        if self.scale is None:
            return replace(self, size=shape, covered=max(self.size) / self.resize)
        turned = (shape[1] / shape[0]) / (self.size[1] / self.size[0])
        return replace(self, size=shape, ratio=(self.ratio[0] * turned, self.ratio[1] * turned))

    def box(self, height: int, width: int, drawn: NDArray[np.float64]) -> Box:
        """The part of an image with these sides; ``drawn`` are random numbers from 0 to 1."""
        return self._middle(height, width) if self.scale is None else self._random(height, width, drawn)

    def _middle(self, height: int, width: int) -> Box:
        shrunk = min(height, width) / self.resize
        if self.covered:
            shrunk = min(height / self.size[0], width / self.size[1]) * self.covered
        tall, wide = self.size[0] * shrunk, self.size[1] * shrunk
        top, left = (height - tall) / 2, (width - wide) / 2
        return Box(top, left, top + tall, left + wide)

    def _random(self, height: int, width: int, drawn: NDArray[np.float64]) -> Box:
        assert self.scale is not None
        least, most = self.scale
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        numbers = iter(drawn.tolist())
        for area, aspect, down, across in zip(numbers, numbers, numbers, numbers, strict=True):
            wanted = (least + area * (most - least)) * height * width
            shape = math.exp(low + aspect * (high - low))
            wide, tall = round(math.sqrt(wanted * shape)), round(math.sqrt(wanted / shape))
            if 0 < wide <= width and 0 < tall <= height:
                top, left = int(down * (height - tall + 1)), int(across * (width - wide + 1))
                return Box(top, left, top + tall, left + wide)
        tall, wide = height, width
        if width / height < self.ratio[0]:
            tall = max(1, round(width / self.ratio[0]))
        elif width / height > self.ratio[1]:
            wide = max(1, round(height * self.ratio[1]))
        top, left = (height - tall) // 2, (width - wide) // 2
        return Box(top, left, top + tall, left + wide)


@dataclass(frozen=True, slots=True)
class Flip:
    """Mirrors an image left to right with a given probability; made by ``flip``."""

    chance: float


@dataclass(frozen=True, slots=True)
class Normalize:
    """Means and deviations of the channels, and the dtype of the result; made by ``normalize``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str


def random_resized_crop(
    size: int | Sequence[int],
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    interpolation: Interpolation = "bilinear",
) -> Crop:
    """A random part of an image, resized: torchvision's ``RandomResizedCrop(size, antialias=True)``.

    Args:
        size: a side in pixels, or height and width.
        scale: the part's share of the image's area, from and to.
        ratio: width over height of the part, from and to, uniform on a logarithmic scale. If ten attempts do not fit, it
            is the middle of the image, as large as ``ratio`` lets it be.
        interpolation: ``bilinear`` (a triangle filter) or ``bicubic`` (a = -0.5), both wider where the image shrinks.

    Raises:
        UsageError: Something is out of range.
    """
    for name, (least, most), limit in (("scale", scale, 1.0), ("ratio", ratio, math.inf)):
        if not 0 < least <= most <= limit:
            expected = "two numbers greater than 0, the smaller one first" + (", at most 1" if limit == 1 else "")
            raise UsageError("out of range", where=name, expected=expected, got=str((least, most)))
    return Crop(_sides(size), _interpolation(interpolation), scale, ratio)


def resize_crop(
    size: int | Sequence[int], *, resize: int | None = None, interpolation: Interpolation = "bilinear"
) -> Crop:
    """The centre of an image, for evaluation: its shorter side is resized to ``resize``, then ``size`` is cut out.

    Args:
        size: a side in pixels, or height and width.
        resize: in pixels, at least the longer side of ``size``, which is also the default: as much of the image as fits. With
            ``size=224``, ``resize=256`` is torchvision's usual ``Resize(256)``, ``CenterCrop(224)``.
        interpolation: as in ``random_resized_crop``.

    Raises:
        UsageError: Something is out of range.
    """
    sides = _sides(size)
    resize = max(sides) if resize is None else resize
    if not max(sides) <= resize <= MAX_SIDE:
        raise UsageError("out of range", where="resize", expected=f"{max(sides)} to {MAX_SIDE}", got=str(resize))
    return Crop(sides, _interpolation(interpolation), resize=resize)


def flip(chance: float = 0.5) -> Flip:
    """Mirror an image left to right with probability ``chance``, 0 to 1. Raises UsageError."""
    if not 0 <= chance <= 1:
        raise UsageError("out of range", where="chance", expected="0 to 1", got=str(chance))
    return Flip(chance)


def normalize(
    mean: Sequence[float] = IMAGENET[0],
    std: Sequence[float] = IMAGENET[1],
    *,
    dtype: Literal["float16", "float32"] = "float32",
) -> Normalize:
    """``(value / 255 - mean) / std`` with one mean and std per channel, as float16 or float32. Raises UsageError."""
    if dtype not in ("float16", "float32"):
        raise UsageError("no such dtype here", where="dtype", expected="float16 or float32", got=str(dtype))
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise UsageError(
            "mean and std need one number per channel", where="mean and std", got=f"{len(mean)} and {len(std)}"
        )
    if min(std) <= 0:
        raise UsageError("must be greater than 0", where="std", got=str(tuple(std)))
    return Normalize(tuple(map(float, mean)), tuple(map(float, std)), dtype)


class Pipeline:
    """Steps on an image, done in one go; made by ``pipeline``. Pass it to a loader as ``image_transform``.

    Called with an image (uint8 [H, W, C], C 1 or 3) and a random generator, it returns the same as in a loader, except that a
    loader may decode a JPEG at a half, a quarter or an eighth of its size first (see ``exact``). It can be pickled.
    """

    def __init__(self, crop: Crop, chance: float, normal: Normalize | None, layout: Layout, *, exact: bool) -> None:
        self.crop = crop
        self.layout: Layout = layout
        self.exact = exact
        self.dtype = np.dtype("uint8" if normal is None else normal.dtype)
        self._chance = chance
        self._normal = normal
        self._resampling: dict[int, Resampling] = {}
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        steps = (self.crop, Flip(self._chance), *(() if self._normal is None else (self._normal,)))
        return partial(pipeline, *steps, layout=self.layout, exact=self.exact), ()

    def __repr__(self) -> str:
        height, width = self.crop.size
        return f"Pipeline({height}x{width}, {self.dtype}, {self.layout})"

    def at(self, shape: tuple[int, int]) -> Pipeline:
        """The same steps with another height and width, those of a bucket."""
        return Pipeline(self.crop.at(shape), self._chance, self._normal, self.layout, exact=self.exact)

    def shape(self, channels: int) -> tuple[int, int, int]:
        """The shape of the result."""
        height, width = self.crop.size
        return (channels, height, width) if self.layout == "NCHW" else (height, width, channels)

    def __call__(self, image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[Any]:
        """Apply the steps to one image."""
        place = np.empty(self.shape(image.shape[2]), self.dtype)
        self.apply(image, random, place)
        return place

    def apply(self, image: NDArray[np.uint8], random: np.random.Generator, place: NDArray[Any]) -> None:
        """Apply the steps to one image, into ``place``."""
        drawn = random.random(_DRAWN + 1)
        box = self.crop.box(image.shape[0], image.shape[1], drawn[:_DRAWN])
        self._into(np.ascontiguousarray(image), box, place, drawn)

    def decode(self, data: memoryview, colorspace: str, random: np.random.Generator, place: NDArray[Any]) -> bool:
        """Decode a JPEG and apply the steps, into ``place``; False, with nothing done, if it needs the full decoder."""
        import simplejpeg

        drawn = random.random(_DRAWN + 1)
        try:
            height, width = simplejpeg.decode_jpeg_header(data)[:2]
            if height * width > DEFAULT_MAX_PIXELS:
                return False
            box = self.crop.box(height, width, drawn[:_DRAWN])
            times = self._times(box)
            tall, wide = -(-height // times), -(-width // times)
            scaled = {} if times == 1 else {"min_height": tall, "min_width": wide, "min_factor": times}
            room = self._room(tall * wide * place.size // math.prod(self.crop.size))
            pixels = simplejpeg.decode_jpeg(data, colorspace, buffer=room, **scaled)
        except (ValueError, KeyError):
            return False
        if pixels.shape[:2] != (tall, wide):
            return False
        self._into(pixels, Box(*(side / times for side in box)), place, drawn)
        return True

    def _times(self, box: Box) -> int:
        if self.exact:
            return 1
        shrunk = min((box.bottom - box.top) / self.crop.size[0], (box.right - box.left) / self.crop.size[1])
        return next((times for times in _SCALES if shrunk >= times * _MARGIN), 1)

    def _room(self, size: int) -> NDArray[np.uint8]:
        """This thread's memory to decode into; fresh memory would add a tenth to the time of decoding."""
        room: NDArray[np.uint8] | None = getattr(self._local, "room", None)
        if room is None or room.size < size:
            room = self._local.room = np.empty(size, np.uint8)
        return room[:size]

    def _into(self, pixels: NDArray[np.uint8], box: Box, place: NDArray[Any], drawn: NDArray[np.float64]) -> None:
        channels = pixels.shape[2]
        resampling = self._resampling.get(channels)
        if resampling is None:
            resampling = self._resampling[channels] = self._resampling_of(channels)
        resampling.into(pixels, box, place, mirrored=bool(drawn[_DRAWN] < self._chance))

    def _resampling_of(self, channels: int) -> Resampling:
        from wdstools.images.resample import Resampling

        factors, offsets = [1.0] * channels, [0.0] * channels
        if self._normal is not None:
            if len(self._normal.mean) != channels:
                raise UsageError(
                    "mean and std need one number per channel",
                    where="wt.image.normalize",
                    expected=f"{channels}",
                    got=f"{len(self._normal.mean)}",
                )
            factors = [1 / (255 * one) for one in self._normal.std]
            offsets = [-mean / std for mean, std in zip(self._normal.mean, self._normal.std, strict=True)]
        cubic, first = self.crop.interpolation == "bicubic", self.layout == "NCHW"
        return Resampling(cubic, tuple(factors), tuple(offsets), channels_first=first)


def pipeline(*steps: Crop | Flip | Normalize, layout: Layout = "NHWC", exact: bool = False) -> Pipeline:
    """Combine steps on an image: a crop, then optionally ``flip``, then optionally ``normalize``.

    Args:
        steps: in this order. Without ``normalize`` the result is uint8.
        layout: the loader's batches are [B, H, W, C] or [B, C, H, W] in memory. ``wt.torch.loader`` returns [B, C, H, W]
            for both; "NHWC" is then torch's ``channels_last``.
        exact: decode every JPEG at its full size. Without it a large one may be decoded at a half, a quarter or an eighth
            if the part is then still 1.25 times the result: for photographs, the PSNR to the exact result is at least 35 dB.

    Raises:
        UsageError: The crop is missing, or a step is repeated or out of order.
    """
    kinds = [type(step) for step in steps]
    if layout not in ("NHWC", "NCHW"):
        raise UsageError("no such layout", where="layout", expected="NHWC or NCHW", got=str(layout))
    if kinds != [kind for kind in (Crop, Flip, Normalize) if kind in kinds] or Crop not in kinds:
        raise UsageError(
            "these steps cannot be combined",
            where="wt.image.pipeline",
            expected="a crop, then optionally flip, then optionally normalize, each once",
            got=", ".join(kind.__name__ for kind in kinds) or "nothing",
            hint="image_transform= also takes any function of an image",
        )
    crop = next(step for step in steps if isinstance(step, Crop))
    chance = next((step.chance for step in steps if isinstance(step, Flip)), 0.0)
    normal = next((step for step in steps if isinstance(step, Normalize)), None)
    return Pipeline(crop, chance, normal, layout, exact=exact)


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if not is_size(sides):
        expected = f"a side or (height, width), each 1 to {MAX_SIDE}"
        raise UsageError("out of range", where="size", expected=expected, got=str(size))
    return sides[0], sides[1]


def _interpolation(name: str) -> str:
    if name not in ("bilinear", "bicubic"):
        raise UsageError("no such interpolation", where="interpolation", expected="bilinear or bicubic", got=str(name))
    return name
