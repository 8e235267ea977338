"""torch's DataLoader over loose files with augmentation, as its tutorial on custom datasets has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import clip
from PIL import Image
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "torch"


class Pairs(Dataset):
    """A folder of ``x.jpg`` and ``x.txt``."""

    def __init__(self, folder: str) -> None:
        self._stems = sorted(os.path.join(folder, name[:-4]) for name in os.listdir(folder) if name.endswith(".jpg"))

    def __len__(self) -> int:
        return len(self._stems)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        with open(f"{self._stems[number]}.txt", encoding="utf-8") as file:
            caption = file.read()
        image = Image.open(f"{self._stems[number]}.jpg").convert("RGB")
        return clip.augment(image), clip.tokens([caption])[0]


def pipeline(task: dict[str, Any]) -> Iterator[int]:
    """Batches as a CLIP training takes them."""
    options = {"shuffle": True, "num_workers": task["threads"], "persistent_workers": True, "drop_last": True}
    loader = DataLoader(Pairs(task["files"]), task["batch_size"], **options)
    while True:
        for images, _ in loader:
            yield len(images)
