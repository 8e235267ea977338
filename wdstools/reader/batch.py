"""A batch of samples, as the loader returns it: an object with attributes and a mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.reader.members import has_tensors, is_tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Members that a batch calls by a name of its own.
FIELD_OF_MEMBER = {"txt": "captions", "cls": "labels"}


class Keys(list[str]):
    """The keys of a batch's samples. Calling it returns the names of the batch's fields, as ``keys()`` of a mapping does."""

    def __init__(self, keys: list[str], fields: list[str]) -> None:
        super().__init__(keys)
        self._fields = fields

    def __call__(self) -> list[str]:
        """The names of the fields."""
        return self._fields

    def __reduce__(self) -> tuple[Any, ...]:
        return Keys, (list(self), self._fields)


class Batch(Mapping[str, Any]):
    """``len(batch)`` samples; row i of every field belongs to one sample. ``batch.images`` is ``batch["images"]``.

    - ``images``: uint8 [B, H, W, 3] (``decode="gray"``: [B, H, W, 1]; a transform's own shape and dtype), a list of
      [H, W, C] arrays with ``fit="list"``, or a list of bytes with ``decode="bytes"``.
    - ``captions``: a list of texts, "" where a sample has none.
    - ``labels``: int64 [B], -1 where a sample has none; a list of texts if labels are names and ``labels`` was not
      given.
    - other requested members, under their extensions, as ``batch["npy"]``, and what a transform or a
      tokenizer added: arrays are stacked if their shapes and dtypes agree, and otherwise come as a list.
    - columns requested with ``columns``, under their names: numbers and bools as an array [B], lists as [B, N], texts as
      a list. A missing float is NaN, a missing text None; integers and bools of a column that some
      samples do not have are float64.
    - ``keys``: the samples' keys; in a mix, ``sources`` are the names of the sources that they come from.
    - ``mask``: bool [B], False in a row that holds no sample of its own: padding that makes ranks equal, or a damaged
      sample under ``on_damage="skip"``; such a row repeats another sample. Count only rows where it is True in evaluation.
    - ``damaged``: the keys of this batch's damaged samples.

    A field is absent if the dataset does not have its member.
    """

    __slots__ = ("__weakref__", "_fields")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields["keys"])

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"this batch has no {name}; it has {', '.join(self._fields)}") from None

    if TYPE_CHECKING:
        captions: list[str]
        labels: NDArray[np.int64]
        mask: NDArray[np.bool_]
        damaged: tuple[str, ...]

        @property
        def images(self) -> NDArray[np.uint8] | list[NDArray[np.uint8]] | list[bytes]:
            """The images."""

    @property
    def keys(self) -> Keys:  # type: ignore[override]
        """The samples' keys; calling it returns the names of the fields."""
        return Keys(self._fields["keys"], list(self._fields))

    def items(self) -> Any:
        """Names and values of the fields."""
        return self._fields.items()

    def values(self) -> Any:
        """Values of the fields."""
        return self._fields.values()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._fields,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples: {', '.join(map(self._shown, self._fields))})"

    def _shown(self, name: str) -> str:
        value = self._fields[name]
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        return name if shape is None else f"{name} {dtype} {list(shape)}"


def plain_array(name: str, value: Any) -> Any:
    """A tensor as an array; a list of tensors as a list of arrays."""
    if isinstance(value, list):
        return [plain_array(name, one) if is_tensor(one) else one for one in value] if has_tensors(value) else value
    if not is_tensor(value):
        return value
    try:
        return value.detach().numpy()
    except TypeError:
        raise UsageError(
            "numpy has no such dtype",
            where=name,
            got=str(value.dtype),
            hint="use wdstools.torch.loader, which returns tensors",
        ) from None
