"""What the results of commands that make a dataset have in common."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, overload

from wdstools.dataset import open_dataset

if TYPE_CHECKING:
    from wdstools.dataset import Dataset, SplitName, UsualSplit
    from wdstools.formats.manifest import Manifest
    from wdstools.reader.sample import Sample
    from wdstools.reader.split import Split


class Made:
    """The result of a command that made a dataset at ``path``; it can be used wherever a dataset's path can."""

    __slots__ = ()
    path: str

    @property
    def dataset(self) -> Dataset:
        """The dataset, opened."""
        return open_dataset(self.path)

    def __fspath__(self) -> str:
        return self.path


class FormerlyDataset(Made):
    """The result of a function that returned the dataset itself in version 0.1: that use still works, with a warning."""

    __slots__ = ()

    @overload
    def __getitem__(self, which: SplitName | UsualSplit) -> Split: ...  # type: ignore[overload-overlap]
    @overload
    def __getitem__(self, which: str) -> Sample: ...
    def __getitem__(self, which: str) -> Split | Sample:
        """Read a split or a sample: use ``result.dataset[...]``."""
        self._warn("[...]")
        return self.dataset[which]

    @property
    def manifest(self) -> Manifest:
        """The dataset's manifest: use ``result.dataset.manifest``."""
        self._warn(".manifest")
        return self.dataset.manifest

    @property
    def splits(self) -> list[SplitName]:
        """Names of the splits: use ``result.dataset.splits``."""
        self._warn(".splits")
        return self.dataset.splits

    def _warn(self, what: str) -> None:
        text = f"this is a {type(self).__name__}, not a dataset: use result.dataset{what}"
        warnings.warn(text, DeprecationWarning, stacklevel=3)
