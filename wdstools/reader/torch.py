"""Batches as torch tensors, and datasets for those who keep their ``DataLoader``: ``wt.torch``.

``wt.torch.loader`` decodes in its own threads and needs no DataLoader, which would cost two thirds of the speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("wdstools.torch needs PyTorch: pip install 'wdstools[torch]'") from error
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, get_worker_info

from wdstools.errors import UsageError
from wdstools.reader.loader import Loader
from wdstools.reader.loader import loader as numpy_loader
from wdstools.reader.stream import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset
    from wdstools.reader.batch import Batch
    from wdstools.reader.stream import Stream


@dataclass(slots=True)
class TorchBatch:
    """A Batch as tensors: ``images`` uint8 [B, C, H, W] in channels_last memory (no copy was made), ``labels`` int64,
    ``mask`` bool; ``captions``, ``keys`` and ``damaged`` as in Batch.
    """  # noqa: D205

    images: torch.Tensor | list[Any]
    captions: list[str]
    labels: torch.Tensor
    keys: list[str]
    mask: torch.Tensor
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)


class TorchLoader:
    """``wdstools.loader`` with tensors on a device; its methods are those of Loader."""

    def __init__(self, numpy: Loader, device: torch.device) -> None:
        self._numpy = numpy
        self._device = device

    @property
    def epoch(self) -> int:
        """The epoch that is being read or comes next."""
        return self._numpy.epoch

    def __len__(self) -> int:
        return len(self._numpy)

    def __iter__(self) -> Iterator[TorchBatch]:
        for batch in self._numpy:
            yield self._tensors(batch)

    def _tensors(self, batch: Batch) -> TorchBatch:
        images: torch.Tensor | list[Any]
        if isinstance(batch.images, list):
            images = batch.images if self._is_bytes(batch) else [torch.from_numpy(image) for image in batch.images]
        else:
            images = torch.from_numpy(batch.images)
            if images.ndim == 4:
                images = images.permute(0, 3, 1, 2)
        labels, mask = torch.from_numpy(batch.labels), torch.from_numpy(batch.mask)
        if self._device.type != "cpu":
            images, labels, mask = self._moved(images), labels.to(self._device), mask.to(self._device)
        return TorchBatch(images, batch.captions, labels, batch.keys, mask, batch.damaged)

    @staticmethod
    def _is_bytes(batch: Batch) -> bool:
        return bool(len(batch)) and isinstance(batch.images[0], bytes)

    def _moved(self, images: torch.Tensor | list[Any]) -> torch.Tensor | list[Any]:
        if isinstance(images, list):
            return [image.to(self._device) if isinstance(image, torch.Tensor) else image for image in images]
        moved = images.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else images
        return moved.to(self._device)

    def state_dict(self) -> dict[str, Any]:
        """See ``Loader.state_dict``."""
        return self._numpy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See ``Loader.load_state_dict``."""
        self._numpy.load_state_dict(state)

    def set_epoch(self, epoch: int) -> None:
        """See ``Loader.set_epoch``."""
        self._numpy.set_epoch(epoch)

    def report(self) -> Any:
        """See ``Loader.report``."""
        return self._numpy.report()

    def close(self) -> None:
        """See ``Loader.close``."""
        self._numpy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def loader(
    dataset: Dataset | str,
    split: str = "train",
    *,
    device: torch.device | str = "cpu",
    distributed: bool = False,
    **options: Any,
) -> TorchLoader:
    """``wdstools.loader`` (whose ``options`` these are) with tensors.

    ``images`` are uint8 [B, C, H, W] in channels_last memory; on a CUDA ``device`` they go there from pinned memory
    without blocking. ``distributed`` takes rank and world size from ``torch.distributed``: no sampler is needed.
    A transform's results that are not [H, W, C] come as they are.
    """
    if distributed:
        options = {**options, **_ranks()}
    return TorchLoader(numpy_loader(dataset, split, **options), torch.device(device))


def _ranks() -> dict[str, int]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise UsageError(
            "torch.distributed is not initialised",
            code="not-distributed",
            where="distributed",
            hint="call torch.distributed.init_process_group first, or give rank and world_size",
        )
    return {"rank": torch.distributed.get_rank(), "world_size": torch.distributed.get_world_size()}


class StreamDataset(IterableDataset[dict[str, Any]]):
    """``wdstools.stream`` for ``DataLoader`` and ``StatefulDataLoader``: dictionaries of ``__key__`` and members' bytes.

    ``DataLoader``'s workers share the samples out among them as further ranks do. ``state_dict`` is that of the process
    it is called in; a StatefulDataLoader calls it in each worker.
    """

    def __init__(self, dataset: Dataset | str, split: str = "train", **options: Any) -> None:
        self._dataset = dataset
        self._split = split
        self._options = options
        self._stream: Stream | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stream": None}

    def _opened(self) -> Stream:
        if self._stream is None:
            worker = get_worker_info()
            options = dict(self._options)
            if worker is not None:
                rank, world_size = options.get("rank", 0), options.get("world_size", 1)
                options["rank"] = rank * worker.num_workers + worker.id
                options["world_size"] = world_size * worker.num_workers
            self._stream = stream(self._dataset, self._split, **options)
        return self._stream

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sample in self._opened():
            yield {"__key__": sample.key, **sample}

    def state_dict(self) -> dict[str, Any]:
        """See ``Stream.state_dict``."""
        return self._opened().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See ``Stream.load_state_dict``."""
        self._opened().load_state_dict(state)

    def set_epoch(self, epoch: int) -> None:
        """See ``Stream.set_epoch``."""
        self._opened().set_epoch(epoch)


class MapDataset(TorchDataset[dict[str, Any]]):
    """A split by number, for ``DataLoader`` with a sampler: dictionaries of ``__key__`` and members' bytes."""

    def __init__(self, dataset: Dataset, split: str = "train") -> None:
        self._samples = dataset.split(split)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> dict[str, Any]:
        sample = self._samples[number]
        return {"__key__": sample.key, **sample}
