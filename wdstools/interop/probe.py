"""Opens a dataset with one consumer, as its documentation says, and compares the samples with reference files.

A separate script, run by the Python that has the consumer: ``python probe.py CONSUMER SPEC.json``. It imports nothing
from wdstools. The last line of stdout is JSON: ``version``, ``samples`` (a number for each split), ``compared`` and
``equal`` (reference samples compared, and found equal byte for byte, or pixel for pixel if the consumer decodes).

The specification: ``root``; ``splits``, each with its shards' paths; ``dali``, the path of each shard's index; ``members``;
``image``; ``references``: split, key, number in the split, and the path of a file for each member.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Spec = dict[str, Any]


class Check:
    """Counts samples, and how many references were compared and found equal."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.samples: Counter[str] = Counter()
        self.met: set[tuple[str, str]] = set()
        self.references = {(r["split"], r["key"]): r for r in spec["references"]}

    def reference(self, split: str, key: str) -> dict[str, bytes] | None:
        """The payloads of a reference sample by extension; None if it is not a reference."""
        found = self.references.get((split, key))
        return None if found is None else {ext: read_file(path) for ext, path in found["files"].items()}

    def sample(self, split: str, key: str, payloads: dict[str, bytes]) -> None:
        """Take a sample from a consumer: all its payloads, by extension."""
        self.samples[split] += 1
        wanted = self.reference(split, key)
        if wanted is not None and payloads == wanted:
            self.met.add((split, key))

    def result(self, package: str) -> dict[str, Any]:
        """The result to print."""
        try:
            found = version(package)
        except PackageNotFoundError:
            found = ""
        samples = {split: self.samples[split] for split in self.spec["splits"]}
        return {"version": found, "samples": samples, "compared": len(self.references), "equal": len(self.met)}


def read_file(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def _paths(spec: Spec, split: str) -> list[str]:
    return [os.path.join(spec["root"], path) for path in spec["splits"][split]]


def _pixels(data: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


def probe_webdataset(spec: Spec) -> dict[str, Any]:
    """webdataset: every sample's raw bytes."""
    import webdataset

    check = Check(spec)
    for split in spec["splits"]:
        for sample in webdataset.WebDataset(_paths(spec, split), shardshuffle=False, empty_check=False):
            check.sample(split, sample["__key__"], {k: v for k, v in sample.items() if not k.startswith("__")})
    return check.result("webdataset")


def probe_huggingface(spec: Spec) -> dict[str, Any]:
    """Hugging Face datasets: the folder found through its card, loaded and streamed; both must agree."""
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(spec["root"])
    raw = datasets.Features(_as_stored(next(iter(loaded.values())).features))
    results = []
    for found in (loaded.cast(raw), datasets.load_dataset(spec["root"], streaming=True, features=raw)):
        check = Check(spec)
        for split, name in spec["huggingface_splits"].items():
            _huggingface_split(check, split, found[name])
        results.append(check.result("datasets"))
    if results[0] != results[1]:
        raise RuntimeError(f"loaded and streamed differ: {results}")
    return results[0]


def _as_stored(features: Any) -> dict[str, Any]:
    """The features with images, sound and video as the bytes in the shards."""
    import datasets

    kinds = tuple(getattr(datasets, name) for name in ("Image", "Audio", "Video") if hasattr(datasets, name))
    return {
        name: type(feature)(decode=False) if isinstance(feature, kinds) else feature
        for name, feature in features.items()
    }


def _huggingface_split(check: Check, split: str, rows: Any) -> None:
    for row in rows:
        payloads = {}
        for member in check.spec["members"]:
            value = row.get(member)
            if isinstance(value, dict) and set(value) == {"bytes", "path"}:
                payloads[member] = value["bytes"] if value["bytes"] is not None else read_file(value["path"])
            elif isinstance(value, bytes):
                payloads[member] = value
            elif value is not None and member in ("txt", "cls", "json"):
                payloads[member] = (value if isinstance(value, str) else json.dumps(value)).encode()
        wanted = check.reference(split, row["__key__"])
        if wanted is not None and "json" in wanted:  # it returns the value, not the bytes
            wanted["json"] = json.dumps(json.loads(wanted["json"])).encode()
        if wanted is not None:  # likewise for an array: what it makes of one cannot be compared
            wanted = {member: data for member, data in wanted.items() if member in payloads or row.get(member) is None}
        check.samples[split] += 1
        if wanted is not None and payloads == wanted:
            check.met.add((split, row["__key__"]))


def _declare_torchvision_operators() -> None:
    """Declare torchvision's compiled operators if it has none for this torch: importing it looks them up."""
    from torch.library import Library

    names = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
    library = Library("torchvision", "DEF")
    for name in (*names, *(f"_{name}_backward" for name in names[2:])):
        try:
            library.define(f"{name}(Tensor input) -> Tensor")
        except RuntimeError:
            return  # they already exist
    _KEPT.append(library)


_KEPT: list[Any] = []


def _training_epoch(args: Any, preprocess: Any) -> Any:
    """The batches of open_clip's training, which uses webdataset differently from its evaluation."""
    from open_clip_train.data import get_wds_dataset

    try:
        yield from get_wds_dataset(args, preprocess, is_train=True, tokenizer=lambda text: [text]).dataloader
    except KeyError as error:
        there = version("webdataset")
        raise RuntimeError(f"open_clip can train with webdataset up to 0.2.86, not with {there} ({error!r})") from error


def probe_open_clip(spec: Spec) -> dict[str, Any]:
    """open_clip: bytes through its own loader, as in evaluation; an epoch of training must have as many samples, and so must sizes.json."""
    _declare_torchvision_operators()
    import numpy as np
    from open_clip_train.data import get_dataset_size, get_wds_dataset

    check = Check(spec)
    for split in spec["splits"]:
        urls = "::".join(_paths(spec, split))
        wanted: dict[tuple[bytes, str], str] = {}
        for (where, key), reference in check.references.items():
            if where == split:
                text = read_file(reference["files"]["txt"]).decode()
                wanted[_pixels(read_file(reference["files"][spec["image"]])), text] = key
        args = SimpleNamespace(train_data=urls, val_data=urls, train_num_samples=None, val_num_samples=None, batch_size=1, workers=0, world_size=1, seed=0, dataset_resampled=False, train_data_upsampling_factors=None)  # fmt: skip
        info = get_wds_dataset(args, np.asarray, is_train=False, tokenizer=lambda text: [text])
        for image, text in info.dataloader:
            check.samples[split] += 1
            key = wanted.get((np.asarray(image[0]).tobytes(), text[0]))
            if key is not None:
                check.met.add((split, key))
        trained = sum(len(texts) for _, texts in _training_epoch(args, np.asarray))
        if trained != check.samples[split]:
            raise RuntimeError(f"an epoch of training gives {trained} samples of {split}, not {check.samples[split]}")
        size, _ = get_dataset_size(urls)
        if size != check.samples[split]:
            raise RuntimeError(f"sizes.json says {size} samples of {split}, open_clip gives {check.samples[split]}")
    return check.result("open_clip_torch")


def probe_timm(spec: Spec) -> dict[str, Any]:
    """timm: its reader over ``_info.json``, decoded images and classes."""
    _declare_torchvision_operators()
    from timm.data.readers.reader_wds import ReaderWds

    check = Check(spec)
    for split in spec["splits"]:
        wanted = {}
        for (where, key), reference in check.references.items():
            if where == split:
                target = int(read_file(reference["files"]["cls"]))
                wanted[_pixels(read_file(reference["files"][spec["image"]])), target] = key
        reader = ReaderWds(root=spec["root"], name="", split=split, is_training=False, batch_size=1)
        for image, target in reader:
            check.samples[split] += 1
            key = wanted.get((image.convert("RGB").tobytes(), target))
            if key is not None:
                check.met.add((split, key))
        if reader.num_samples != check.samples[split]:
            raise RuntimeError(f"_info.json says {reader.num_samples} samples, timm gives {check.samples[split]}")
    return check.result("timm")


def probe_energon(spec: Spec) -> dict[str, Any]:
    """Megatron Energon: samples through its loader and ``.tar.idx``, bytes through its database."""
    from megatron.energon import WorkerConfig, get_loader, get_val_dataset
    from megatron.energon.cache.file_store import WebdatasetFileStore
    from megatron.energon.epathlib import EPath

    check = Check(spec)
    workers = WorkerConfig(rank=0, world_size=1, num_workers=0)
    store = WebdatasetFileStore(EPath(spec["root"]))
    for split in spec["splits"]:
        dataset = get_val_dataset(spec["root"], split_part=split, worker_config=workers, batch_size=1)
        for batch in get_loader(dataset):
            for key in batch.__key__:
                wanted = check.reference(split, key) or {}
                check.sample(split, key, {ext: bytes(store[f"{key}.{ext}"][0]) for ext in wanted})
    return check.result("megatron-energon")


def probe_dali(spec: Spec) -> dict[str, Any]:
    """NVIDIA DALI on the CPU: every component of every sample, in the order of its index."""
    from nvidia.dali import fn, pipeline_def

    check = Check(spec)
    members = spec["members"]
    for split in spec["splits"]:
        keys = {r["number"]: key for (where, key), r in check.references.items() if where == split}

        @pipeline_def(batch_size=1, num_threads=1, device_id=None)  # type: ignore[untyped-decorator]
        def pipeline(where: str) -> Any:
            paths = _paths(spec, where)
            indexes = [os.path.join(spec["root"], spec["dali"][path]) for path in spec["splits"][where]]
            found = fn.readers.webdataset(
                paths=paths, index_paths=indexes, ext=members, name="reader", missing_component_behavior="error"
            )
            return tuple(found) if len(members) > 1 else found

        built = pipeline(split)
        built.build()
        for number in range(built.epoch_size("reader")):
            outputs = built.run()
            found = {ext: bytes(out.as_array()[0]) for ext, out in zip(members, outputs, strict=True)}
            check.sample(split, keys.get(number, ""), found)
    found = check.result("nvidia-dali-cuda130")
    return found | {"version": found["version"] or sys.modules["nvidia.dali"].__version__}


def probe_webshart(spec: Spec) -> dict[str, Any]:
    """webshart: every sample's image by its index; captions as the index has them."""
    import webshart

    check = Check(spec)
    image = spec["image"]
    for split, paths in spec["splits"].items():
        folders = [os.path.dirname(os.path.join(spec["root"], path)) for path in (paths[0], spec["webshart"][paths[0]])]
        dataset = webshart.discover_dataset(source=folders[0], metadata=folders[1])
        loader = webshart.TarDataLoader(dataset)
        for shard in range(dataset.num_shards):
            for number in range(dataset.get_shard_sample_count(shard)):
                entry = loader.load_sample(shard, number)
                key = str(entry.path).removesuffix(f".{image}")
                wanted = check.reference(split, key) or {}
                text = {"txt": (entry.captions or "").encode()} if "txt" in wanted else {}
                others = {name: data for name, data in wanted.items() if name not in ("txt", image)}
                check.sample(split, key, others | text | {image: bytes(entry.data)})
    return check.result("webshart")


def probe_croissant(spec: Spec) -> dict[str, Any]:
    """Croissant: the metadata valid, every record there, contents equal."""
    import mlcroissant

    check = Check(spec)
    document = mlcroissant.Dataset(jsonld=os.path.join(spec["root"], "croissant.json"))
    if document.metadata.issues.errors:
        raise RuntimeError("; ".join(document.metadata.issues.errors))
    met: Counter[tuple[str, str]] = Counter()
    for split in spec["splits"]:
        counts = Counter[str]()
        for member in spec["members"]:
            name = f"{split}_{member}"
            for record in document.records(name):
                counts[member] += 1
                path = record[f"{name}/name"]
                key = (path.decode() if isinstance(path, bytes) else str(path)).removesuffix(f".{member}")
                wanted = check.reference(split, key)
                if wanted is not None and _same_content(record[f"{name}/content"], wanted[member]):
                    met[split, key] += 1
        if len(set(counts.values())) != 1:
            raise RuntimeError(f"records of {split}: {dict(counts)}")
        check.samples[split] = counts[spec["members"][0]]
    check.met = {pair for pair, count in met.items() if count == len(spec["members"])}
    return check.result("mlcroissant")


def _same_content(value: Any, wanted: bytes) -> bool:
    if isinstance(value, bytes | str):
        return (value if isinstance(value, bytes) else value.encode()) == wanted
    return bool(value.convert("RGB").tobytes() == _pixels(wanted))


def probe_duckdb(spec: Spec) -> dict[str, Any]:
    """DuckDB on the index files: captions and keys through SQL."""
    import duckdb

    def rows(split: str) -> list[Any]:
        return list(
            duckdb.connect()
            .execute("SELECT key, caption FROM read_parquet($paths)", {"paths": _indexes(spec, split)})
            .fetchall()
        )

    return _compare_captions(spec, rows).result("duckdb")


def probe_polars(spec: Spec) -> dict[str, Any]:
    """Polars on the index files."""
    import polars as pl

    def rows(split: str) -> list[Any]:
        return list(pl.concat([pl.read_parquet(p, columns=["key", "caption"]) for p in _indexes(spec, split)]).rows())

    return _compare_captions(spec, rows).result("polars")


def _indexes(spec: Spec, split: str) -> list[str]:
    return [os.path.join(spec["metadata"], spec["indexes"][path]) for path in spec["splits"][split]]


def _compare_captions(spec: Spec, rows: Callable[[str], list[Any]]) -> Check:
    check = Check(spec)
    for split in spec["splits"]:
        for key, caption in rows(split):
            check.samples[split] += 1
            wanted = check.reference(split, key)
            if wanted is not None and (caption or "").encode() == wanted.get("txt", b""):
                check.met.add((split, key))
    return check


PROBES = {name.removeprefix("probe_"): probe for name, probe in list(globals().items()) if name.startswith("probe_")}


def main(consumer: str, path: str) -> None:
    """Probe, and print."""
    warnings.simplefilter("ignore")  # warnings of the consumer itself
    result = PROBES[consumer](json.loads(read_file(path)))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
