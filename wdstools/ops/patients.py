"""The readers that doctor tries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consumer:
    """A reader of datasets: the module that shows that it is installed, how to use it, and the members it needs."""

    module: str
    how: str
    needs: tuple[str, ...] = ()


PATIENTS = {
    "webdataset": Consumer("webdataset", "webdataset.WebDataset('{braces}')"),
    "huggingface": Consumer("datasets", "datasets.load_dataset('{root}')"),
    "open_clip": Consumer("open_clip_train", "--dataset-type webdataset --train-data '{braces}'", ("txt",)),
    "timm": Consumer("timm", "timm.data.create_dataset('wds/', '{root}', split='{split}')", ("cls",)),
    "energon": Consumer("megatron.energon", "get_train_dataset('{root}', split_part='{split}', ...)", ("txt",)),
    "dali": Consumer("nvidia.dali", "fn.readers.webdataset(paths=['{first}', ...], index_paths=['{index}', ...], ext=[{members}])"),
    "webshart": Consumer("webshart", "webshart.discover_dataset(source='{root}/{split}', metadata='{root}/.wdstools/webshart/{split}')"),
    "croissant": Consumer("mlcroissant", "mlcroissant.Dataset(jsonld='{root}/croissant.json').records('{split}_{image}')"),
    "tar": Consumer("", "tar --no-same-owner -xf {first}"),
    "bsdtar": Consumer("", "bsdtar -xf {first}"),
    "duckdb": Consumer("duckdb", "SELECT key, caption FROM read_parquet('{root}/.wdstools/index/*.parquet')"),
    "polars": Consumer("polars", "polars.scan_parquet('{root}/.wdstools/index/*.parquet')"),
}  # fmt: skip
