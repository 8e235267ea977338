"""Batches as torch tensors, and datasets for use with a ``DataLoader``: ``wt.torch``.

``wt.torch.loader`` decodes in its own threads and needs no DataLoader, with which it would be three times slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("wdstools.torch needs PyTorch: pip install 'wdstools[torch]'") from error
import numpy as np
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, Sampler

from wdstools.errors import UsageError
from wdstools.reader.batch import Batch
from wdstools.reader.cursor import Cursor
from wdstools.reader.epochs import Epochs
from wdstools.reader.image import Pipeline
from wdstools.reader.loader import Loader, open_loader
from wdstools.reader.options import LoaderOptions, Share, StreamOptions, UndecodedOptions, choice_of, settled
from wdstools.reader.ranks import Role, find_role, worker_pass
from wdstools.reader.stream import open_stream
from wdstools.reader.worker_states import is_of_loader, state_of_loader

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Unpack

    from wdstools.dataset import Dataset
    from wdstools.reader.batch_maker import Maker
    from wdstools.reader.mixing import Mix
    from wdstools.reader.sample import Sample
    from wdstools.reader.stream import Stream


class TorchBatch(Batch):
    """A Batch as tensors: ``images`` uint8 [B, C, H, W] in channels_last memory (without a copy), ``labels`` int64,
    ``mask`` bool, and other arrays as tensors; ``captions``, ``keys`` and ``damaged`` as in Batch.
    """  # noqa: D205

    __slots__ = ()

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        return type(self)({name: _changed(value, change) for name, value in self.items()})

    def to(self, *where: Any, **options: Any) -> Self:
        """The batch with its tensors on a device; takes the arguments of ``Tensor.to``. A dtype applies to floating point only."""
        dtypes = [value for value in (*where, options.get("dtype")) if isinstance(value, torch.dtype)]

        def change(tensor: torch.Tensor) -> torch.Tensor:
            if dtypes and not tensor.is_floating_point():
                device = options.get("device") or next((d for d in where if not isinstance(d, torch.dtype)), None)
                return tensor if device is None else tensor.to(device, non_blocking=options.get("non_blocking", False))
            return tensor.to(*where, **options)

        return self._each(change)

    def pin_memory(self, device: Any = None) -> Self:
        """The batch with its tensors in pinned memory."""
        return self._each(lambda tensor: tensor.pin_memory(device) if device is not None else tensor.pin_memory())

    def cuda(self, device: Any = None) -> Self:
        """The batch with its tensors on a CUDA device."""
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Self:
        """The batch with its tensors in the memory of the host."""
        return self.to("cpu")


def _changed(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, list) and any(isinstance(one, torch.Tensor) for one in value):
        return [change(one) if isinstance(one, torch.Tensor) else one for one in value]
    return value


class TorchLoader(Loader):
    """``wdstools.loader`` with tensors on a device; its methods are those of Loader."""

    device: torch.device = torch.device("cpu")

    def handed_out(self, fields: dict[str, Any], maker: Maker) -> TorchBatch:
        """A batch from its fields, as tensors."""
        if "images" in fields:
            fields["images"] = self._images(fields["images"], maker)
        batch = TorchBatch({name: _tensor(value) for name, value in fields.items()})
        if self.device.type == "cpu":
            return batch
        if self.device.type == "cuda":
            return batch.pin_memory().to(self.device, non_blocking=True)
        return batch.to(self.device)

    def _images(self, images: Any, maker: Maker) -> Any:
        """Images with channels first: arrays with channels last are permuted as views; tensors keep their layout."""
        if maker.tensors or not maker.channels:
            return images
        recipe = maker.recipe
        steps = recipe.image_transform
        if isinstance(steps, Pipeline) and recipe.transform is None:
            first = steps.layout == "NCHW"
            if isinstance(images, list):
                return [image if first else np.moveaxis(image, -1, -3) for image in images]
            return images if first else np.moveaxis(images, -1, -3)
        transformed = recipe.image_transform is not None or recipe.transform is not None
        if isinstance(images, list):
            return [self._channels_first(image, maker.channels, transformed) for image in images]
        return self._channels_first(images, maker.channels, transformed)

    @staticmethod
    def _channels_first(images: Any, channels: int, transformed: bool) -> Any:
        if not isinstance(images, np.ndarray) or images.ndim < 3:
            return images
        first, last = images.shape[-3] == channels, images.shape[-1] == channels
        if transformed and first and last:
            raise UsageError(
                "cannot tell which dimension of a transform's image is the channels",
                code="transform-layout",
                where="image_transform",
                got=f"shape {tuple(images.shape[-3:])}",
                hint="let the transform return a tensor: tensors have their channels first",
            )
        return np.moveaxis(images, -1, -3) if last or not transformed else images


def _tensor(value: Any) -> Any:
    """An array as a tensor, without a copy if torch allows it; a list of arrays as a list of tensors."""
    if isinstance(value, list) and any(isinstance(one, np.ndarray) for one in value):
        return [_tensor(one) for one in value]
    if not isinstance(value, np.ndarray):
        return value
    if any(stride < 0 for stride in value.strides) or not value.flags.writeable:
        value = value.copy()
    try:
        return torch.from_numpy(value)
    except TypeError:
        return value  # text and the like


def loader(
    dataset: Dataset | Mix | str | os.PathLike[str],
    split: str = "train",
    *,
    device: torch.device | str = "cpu",
    distributed: bool | None = None,
    **options: Unpack[LoaderOptions],
) -> TorchLoader:
    """``wdstools.loader`` (whose ``options`` these are) with tensors.

    ``images`` are uint8 [B, C, H, W] in channels_last memory; for a CUDA ``device`` they are copied from pinned memory
    without blocking. Rank and world size are those of ``torch.distributed`` if it is initialised: no sampler is
    needed. ``distributed=True`` requires it, ``False`` reads everything on each rank. Arrays of a transform
    that have channels last are permuted; tensors, and arrays with channels first, stay as they are.
    """
    chosen = settled(LoaderOptions, options, "wt.torch.loader")
    if distributed is not None:
        role = _role_of_torch() if distributed else Role()
        chosen = {**chosen, "rank": role.rank, "world_size": role.world_size}
    opened = open_loader(TorchLoader, dataset, split, chosen)
    opened.device = torch.device(device)
    return opened


def _role_of_torch() -> Role:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise UsageError(
            "torch.distributed is not initialised",
            code="not-distributed",
            where="distributed",
            hint="call torch.distributed.init_process_group first, or give rank and world_size",
        )
    return find_role()


class StreamDataset(IterableDataset[dict[str, Any]]):
    """``wdstools.stream`` for ``DataLoader`` and ``StatefulDataLoader``: dictionaries of ``__key__`` and the members' bytes.

    ``DataLoader``'s workers share the samples of their rank; each pass is the next epoch, even if it has new
    worker processes. Given DataLoader's ``batch_size``, its batches are the same with any number of workers, and there are
    ``len(DataLoader)`` of them. ``transform`` is a function of the dictionary. ``state_dict`` is that of the process it
    is called in; a StatefulDataLoader calls it in each worker.
    """

    def __init__(
        self,
        dataset: Dataset | str | os.PathLike[str],
        split: str = "train",
        *,
        batch_size: int = 1,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        **options: Unpack[UndecodedOptions],
    ) -> None:
        chosen = settled(UndecodedOptions, options, "wt.torch.StreamDataset")
        self._transform = transform
        self._batch_size = batch_size
        self._epochs = Epochs()
        self._seen: tuple[int, int] | None = None
        self._restored = False  # in this worker; a state restored in the parent is for its next pass
        self._inherited: Role | None = None
        # opened here, so that options and shards are checked before workers start
        self._stream: Stream = open_stream(dataset, split, chosen, batch_size=batch_size)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process: it gets the rank of the process that starts it, which it cannot find out itself."""
        return {**self.__dict__, "_inherited": self._stream.role if self._inherited is None else self._inherited}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._stream.inherit(self._inherited)

    @property
    def epoch(self) -> int:
        """The current epoch in this process, or the next one between two epochs."""
        return self._stream.epoch

    def __len__(self) -> int:
        """The number of samples of a whole epoch for this rank."""
        return len(self._stream)

    def __iter__(self) -> Iterator[Any]:
        number = worker_pass()
        if number is not None:
            self._find_epoch(number)
        samples = iter(self._stream)
        return (self._given(sample) for sample in samples)

    def _find_epoch(self, number: int) -> None:
        """In a worker: go to the epoch of this pass, unless a state was restored."""
        generation, stream = self._epochs.generation, self._stream
        if self._restored or (stream.is_restored and self._epochs.is_first(number)):
            self._epochs.note(number, stream.epoch)
        elif self._seen is not None and self._seen[0] == generation:  # a worker that persists
            stream.set_epoch(self._seen[1] + 1)
            self._epochs.note(number, stream.epoch)
        else:
            stream.set_epoch(self._epochs.of(number))
        self._restored = False
        self._seen = (generation, stream.epoch)

    def _given(self, sample: Sample) -> Any:
        found = {"__key__": sample.key, **sample, **sample.columns}
        return found if self._transform is None else self._transform(found)

    def state_dict(self) -> dict[str, Any]:
        """See ``Stream.state_dict``."""
        role = self._stream.role
        return {**self._stream.state_dict(), "worker": role.worker, "workers": role.workers}

    def load_state_dict(self, state: Any) -> None:
        """See ``Stream.load_state_dict``; a worker's state is for the same worker of the same number of workers.

        The state of a whole ``StatefulDataLoader`` is accepted too: the next pass continues after the last batch that
        it handed out, with any number of workers.
        """
        role = self._stream.role
        if worker_pass() is None and is_of_loader(state):
            state = state_of_loader(state, self._stream.count, self._batch_size * role.world_size)
        given = (state.get("worker", 0), state.get("workers", 1)) if isinstance(state, dict) else (0, 1)
        if given != (role.worker, role.workers):
            raise UsageError(
                "this state was saved with another number of workers",
                code="state-refused",
                where="workers",
                expected=f"worker {role.worker} of {role.workers}",
                got=f"worker {given[0]} of {given[1]}",
                hint="pass the state of the StatefulDataLoader to the dataset before workers start: "
                "dataset.load_state_dict(state); it continues with any num_workers",
            )
        self._stream.load_state_dict(state)
        if worker_pass() is None:
            self._epochs.set(self._stream.epoch)
        else:
            self._restored = True

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be this epoch, here and in workers, however they are started."""
        self._stream.set_epoch(epoch)
        if worker_pass() is None:
            self._epochs.set(epoch)
        else:
            self._seen = (self._epochs.generation, epoch - 1)

    def __repr__(self) -> str:
        return f"StreamDataset({self._stream!r})"


class MapDataset(TorchDataset[Any]):
    """A split by number, for ``DataLoader`` with a sampler: dictionaries of ``__key__`` and the members' bytes.

    ``transform`` is a function of this dictionary. With ``BatchSampler`` the order is that of ``wdstools.loader``.
    """

    def __init__(
        self,
        dataset: Dataset | str | os.PathLike[str],
        split: str = "train",
        *,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        from wdstools.dataset import as_dataset

        opened = as_dataset(dataset)
        if split not in opened.splits:
            raise UsageError("no such split", code="split-missing", where=split, expected=", ".join(opened.splits))
        self._samples: Any = opened[split]
        self._transform = transform

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Any:
        sample: Sample = self._samples[number]
        found = {"__key__": sample.key, **sample}
        return found if self._transform is None else self._transform(found)


class BatchSampler(Sampler[list[int]]):
    """Sample numbers, batch by batch, in the order of ``wdstools.loader``, for ``DataLoader(MapDataset(...),
    batch_sampler=...)``. Each rank gets its part, and each pass is the next epoch, or continues from a state.
    """  # noqa: D205

    def __init__(
        self,
        dataset: Dataset | str | os.PathLike[str],
        split: str = "train",
        *,
        batch_size: int,
        **options: Unpack[StreamOptions],
    ) -> None:
        from wdstools.dataset import as_dataset

        chosen = settled(StreamOptions, options, "wt.torch.BatchSampler")
        self._cursor = Cursor(as_dataset(dataset), choice_of(split, chosen), chosen["seed"])
        self._share = Share.of(self._cursor.count, chosen, batch_size)
        self.batch_size = batch_size
        self.drop_last = chosen["remainder"] == "drop"

    def __len__(self) -> int:
        """The number of batches of a whole epoch for this rank."""
        return self._share.now().batches()

    def __iter__(self) -> Iterator[list[int]]:
        sharing = self._share.now()
        turn = self._cursor.begin(sharing)
        cursor, position = self._cursor, self._cursor.position
        for _ in range(sharing.batches(position)):
            part = sharing.part(position)
            rows = cursor.ahead(position, part.after)
            numbers = rows[np.array([*range(part.start, part.stop), *part.again], np.int64) - position].tolist()
            position = part.after
            if cursor.turn is turn:
                cursor.hand_out(position, sharing)
            yield numbers

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._cursor.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The sampler's position: what it has handed to DataLoader, which fetches ahead."""
        return self._cursor.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state. Raises UsageError (``state-refused``) if it belongs to something else."""
        self._cursor.restore(state)

    def __repr__(self) -> str:
        return f"BatchSampler({self._cursor}, batches of {self.batch_size}, {self._share.role()})"
