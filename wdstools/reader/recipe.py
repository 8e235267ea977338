"""What a batch is made of: which members are read, and what becomes of each. Checks the options of a loader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from wdstools.errors import UsageError
from wdstools.foreign.member_meaning import CAPTION_EXTENSIONS
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.memory import page_aligned
from wdstools.reader.decode import FITS, MAX_SIDE, is_size
from wdstools.reader.image import Pipeline
from wdstools.reader.members import decoder_of
from wdstools.reader.options import members_among
from wdstools.reader.transforms import Function, is_of_images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wdstools.reader.members import Decode
    from wdstools.reader.options import LoaderOptions


@dataclass(frozen=True, slots=True)
class Recipe:
    """How samples become rows of a batch; the fields are the options of ``LoaderOptions``."""

    members: tuple[str, ...] | None = None
    decode: str = "rgb"
    image_size: tuple[int, int] | None = None
    fit: str = "stretch"
    decoders: Mapping[str, Decode] = field(default_factory=dict)
    caption: str | Function = "first"
    labels: tuple[str, ...] | None = None
    image_transform: Function | Pipeline | None = None
    transform: Function | None = None
    tokenizer: Callable[[list[str]], Any] | None = None
    #: Maps the number of each label in the dataset to its number in batches.
    renumbered: tuple[int, ...] | None = None
    allocate: Callable[[int], Any] = page_aligned
    #: Added columns of the dataset.
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: LoaderOptions) -> Recipe:
        """The recipe for these options; raises UsageError if they do not fit together."""
        size = options["image_size"]
        members, labels = options["members"], options["labels"]
        transform, image_transform = options["transform"], options["image_transform"]
        if transform is not None and image_transform is None and is_of_images(transform):
            transform, image_transform = None, transform
        caption = options["caption"]
        return cls(
            None if members is None else tuple(members),
            options["decode"],
            None if size is None else (size, size) if isinstance(size, int) else cast("tuple[int, int]", tuple(size)),
            options["fit"],
            options["decoders"] or {},
            Function(caption) if callable(caption) else caption,
            None if labels is None else tuple(labels),
            _image_transform(image_transform),
            None if transform is None else Function(transform),
            options["tokenizer"],
            columns=tuple(dict.fromkeys(options["columns"] or ())),
        )

    def of_shape(self, shape: tuple[int, int], fit: str) -> Recipe:
        """The same recipe for images of a bucket's shape, fitted by the steps of ``wt.image``, or else by ``fit``."""
        if isinstance(self.image_transform, Pipeline):
            return replace(self, image_transform=self.image_transform.at(shape))
        return replace(self, image_size=shape, fit=fit)

    def __post_init__(self) -> None:
        if self.decode not in ("rgb", "gray", "bytes"):
            raise UsageError("no such decoding", where="decode", expected="rgb, gray or bytes", got=str(self.decode))
        if self.fit not in FITS:
            raise UsageError("no such fit", where="fit", expected=", ".join(FITS), got=str(self.fit))
        if self.image_size is not None:
            self._check_size(self.image_size)
        if self.decode == "bytes" and (self.image_size is not None or self.image_transform is not None):
            raise UsageError(
                "images that are not decoded cannot be resized or transformed", where="decode", expected="rgb or gray"
            )
        if isinstance(self.caption, str) and self.caption not in ("first", "random"):
            raise UsageError(
                "no such caption", where="caption", expected="first, random or a function", got=str(self.caption)
            )
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise UsageError("a label is given twice", where="labels", expected="each label once")
        for extension, decode in self.decoders.items():
            if not callable(decode):
                raise UsageError("not a function", where=f"decoders[{extension!r}]", got=repr(decode)[:100])

    def _check_size(self, size: tuple[int, int]) -> None:
        if not is_size(size):
            expected = f"a side or (height, width), each 1 to {MAX_SIDE}"
            raise UsageError("out of range", where="image_size", expected=expected, got=str(size))
        if isinstance(self.image_transform, Pipeline):
            made = "x".join(map(str, self.image_transform.crop.size))
            expected = f"none: the steps of image_transform make images of {made}"
            raise UsageError("the size is given twice", where="image_size", expected=expected, got=str(size))
        if self.fit == "list":
            raise UsageError('with fit="list" each image keeps its size', where="image_size", expected="none")

    def plan(self, there: Sequence[str]) -> MemberPlan:
        """What to do with the members of a dataset, which are ``there``; raises UsageError (``member-missing``)."""
        chosen = self._chosen(there)
        plain = [name for name in chosen if is_image(name)]
        # of members requested by name, only the first of its kind is the image or caption; the others keep their names
        images = plain if self.members is None else plain[:1]
        captions = [name for name in chosen if name in CAPTION_EXTENSIONS]
        captions = captions if self.members is None else captions[:1]
        own = {*images, *captions, "cls"}
        extra = {name: decoder_of(name, self.decoders) for name in chosen if name not in own}
        several = self.caption != "first" and "json" in there
        read = chosen if not several or "json" in chosen else (*chosen, "json")
        given = next((self.decoders[k] for name in images for k in (name, _last(name)) if k in self.decoders), None)
        return MemberPlan(read, tuple(images), tuple(captions), "cls" in chosen, extra, several, given)

    def _chosen(self, there: Sequence[str]) -> tuple[str, ...]:
        if self.members is not None:
            return members_among(self.members, there)
        images = [name for name in there if is_image(name)]
        if not images:
            return tuple(there)
        return (*images, *(name for name in there if name in CAPTION_EXTENSIONS or name == "cls"))


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """What to do with a dataset's members: those that are ``read``, those from which a sample's image or caption is taken
    (the first that it has), whether labels are read, the decoders of others, whether captions are chosen from a list in
    ``json``, and the decoder given for images.
    """  # noqa: D205

    read: tuple[str, ...]
    images: tuple[str, ...]
    captions: tuple[str, ...]
    labels: bool
    extra: Mapping[str, Decode]
    several_captions: bool
    image_decoder: Decode | None


def is_image(extension: str) -> bool:
    """Whether a member is the image of a sample, and not something about it: ``jpg``, but not ``mask.png``."""
    return extension.lower() in TYPE_OF_EXTENSION


def _image_transform(transform: Callable[..., Any] | None) -> Function | Pipeline | None:
    return transform if transform is None or isinstance(transform, Pipeline) else Function(transform)


def _last(extension: str) -> str:
    return extension.rpartition(".")[2].lower()
