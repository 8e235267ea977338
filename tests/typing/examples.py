"""Every public function as people call it, with the type of what it gives: mypy and pyright must agree with each line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import wdstools as wt

if TYPE_CHECKING:
    from wdstools.options.pack import PackChoices
    from wdstools.sources.base import Source
    from wdstools.stores.base import Store


class Dots:
    """A progress of one's own."""

    def start(self, task: str, total: int, unit: str) -> None:
        """A task begins."""

    def advance(self, count: int) -> None:
        """Some more is done."""

    def finish(self) -> None:
        """The task is over."""


def make(source: Path, dest: Path) -> None:
    """Sources, and datasets of them."""
    opened: Source = wt.open_source(source, captions="optional")
    wt.scan(opened)
    inventory = wt.scan(source, image="{split}/{id}.jpg")
    assert_type(inventory, wt.Inventory)
    assert_type(inventory.total, int)
    packed = wt.pack(source, dest, splits="train=80,val=20", resize=300, mode="crop", progress=Dots())
    assert_type(packed, wt.PackResult)
    assert_type(packed.dataset, wt.Dataset)
    choices: PackChoices = {"seed": 7, "duplicates": "group"}
    wt.pack(wt.FolderSource("folder"), "shards", executor=wt.open_executor("processes", 4), **choices)
    wt.pack("folder", "shards", executor=wt.FuturesExecutor(ThreadPoolExecutor(2)))
    wt.pack("folder", "shards", executor=wt.RayExecutor("auto", memory=2 << 30))
    wt.pack("folder", "shards", executor=wt.open_executor("ray", ray_address="ray://head:10001"))
    wt.pack(wt.TableSource("table.csv"), "shards", jobs=2, only="png", on_error="fail")
    wt.pack(wt.ShardsSource("tars"), "shards", like=packed)
    adopted = wt.adopt("their-tars", dest, digests="all", split_from="path")
    assert_type(adopted, wt.AdoptResult)
    assert_type(adopted.hazards, tuple[wt.Hazard, ...])


def look(path: Path) -> None:
    """What lies in a dataset, from its indexes."""
    first = wt.head(path, 3, where="width >= 300")
    assert_type(first, tuple[wt.SampleInfo, ...])
    assert_type(first[0].caption, str | None)
    counted = wt.stats("s3://bucket/shards", splits="train", progress=Dots())
    assert_type(counted, wt.StatsResult)
    assert_type(counted.counts["train"]["london"], int)


def read(path: Path) -> None:
    """Samples, by name, by number and in batches."""
    dataset = wt.open_dataset(path, mirrors=["s3://bucket/copy"], cache="cache", cache_bytes=1 << 30)
    assert_type(dataset, wt.Dataset)
    assert_type(dataset["train"], wt.Split)
    assert_type(dataset["train"][0], wt.Sample)
    assert_type(dataset["london/1"], wt.Sample)
    assert_type(dataset.split("holdout"), wt.Split)
    assert_type(dataset.sample("london/1"), wt.Sample)
    assert_type(dataset.sample("london/1")["jpg"], bytes)
    for name in dataset.splits:
        assert_type(dataset[name], wt.Split)
    mixed = wt.mix({"a": wt.source(dataset, weight=0.7, where="width > 1"), "b": "shards"}, stop="all")
    shaped = wt.loader(mixed, batch_size=64, buckets=wt.aspect_buckets(512 * 512, step=64))
    assert_type([source.epoch for source in shaped.sources], list[int])
    assert_type(shaped.metrics(reset=True).stages["decode"], float)
    assert_type([bucket.samples for bucket in shaped.buckets], list[int])
    for batch in wt.loader(dataset, "train", batch_size=64, image_size=224):
        made: wt.Batch = batch
        assert_type(made.captions, list[str])
    for sample in wt.stream(dataset, "val", members=["jpg"]):
        assert_type(sample, wt.Sample)
    wt.webdataset(dataset)
    store: Store = wt.open_store("s3://bucket/shards")
    wt.mirror(dataset, store)


def check(path: Path) -> None:
    """What is there, and what is wrong with it."""
    report = wt.verify(path, level="samples", digest="sha256", part=(1, 4), executor=wt.open_executor("threads", 8))
    assert_type(report, wt.Report)
    assert_type(report.findings, tuple[wt.Finding, ...])
    assert_type(report.proved, wt.Proved)
    try:
        report.raise_for_findings()
    except wt.IntegrityError as error:
        assert_type(error.report, wt.Report | None)
    difference = wt.diff(path, "other")
    assert_type(difference, wt.DiffResult)
    assert_type(difference.differences, tuple[wt.Difference, ...])
    found = wt.find_duplicates(path, level="edited", captions=True)
    assert_type(found, wt.DuplicateGroups)
    shared = wt.find_shared(path, ["coco-test", "hashes.parquet"], level="edited")
    assert_type(shared, wt.SharedImages)
    assert_type(shared.shared, tuple[wt.SharedImage, ...])
    assert_type(wt.doctor(path, ["timm", "dali"]), tuple[wt.Diagnosis, ...])
    speed = wt.bench(path, seconds=1, shuffle="block", compare=["webdataset"])
    assert_type(speed, wt.BenchResult)
    assert_type(speed.p99_ms, float)


def change(path: Path) -> None:
    """Plans, and what carrying them out gives."""
    plan = wt.plan_repair(path, spares=["backup", Path("other")])
    assert_type(plan, wt.Plan[wt.RepairResult | wt.FinishResult])
    assert_type(plan.steps, tuple[wt.Step, ...])
    assert_type(wt.apply(plan), wt.RepairResult | wt.FinishResult)
    assert_type(wt.repair(path, delete=True), wt.RepairResult | wt.FinishResult)
    assert_type(wt.plan_append(path, "more", shards=4), wt.Plan[wt.AppendResult | wt.FinishResult])
    assert_type(
        wt.append(path, Path("more.zip"), output="grown", captions="optional"), wt.AppendResult | wt.FinishResult
    )
    selection = wt.select(splits="val", where="label == 'oslo'")
    assert_type(selection, wt.Selection)
    assert_type(wt.apply(wt.plan_remove(path, selection)), wt.RemoveResult | wt.FinishResult)
    some = wt.Selection(keys=frozenset({"a"}), where=wt.parse_where("width > 3"))
    assert_type(wt.remove(path, some, output="without"), wt.RemoveResult | wt.FinishResult)
    assert_type(wt.extract(path, "files", selection=some), wt.ExtractResult)
    assert_type(wt.apply(wt.plan_emit(path, ["all"], license_name="cc0-1.0")), wt.EmitResult)
    assert_type(wt.apply(wt.plan_emit_removal(path, ["timm"])), wt.EmitResult)
    assert_type(wt.emit(path, ["huggingface", "timm"], remove=True), wt.EmitResult)


def move(path: Path) -> None:
    """From here to there, and back."""
    assert_type(wt.apply(wt.plan_mirror(path, "s3://bucket/shards", replace=True)), wt.MirrorResult)
    assert_type(wt.mirror(path, "s3://bucket/shards", jobs=8), wt.MirrorResult)
    assert_type(wt.sign(path, key="key.pem"), wt.SignResult)
    wt.verify(path, public_key="pub.pem", min_version=2, splits="val", only_present=True)
    plan = wt.plan_pull("s3://bucket/shards", "here", selection=wt.select(splits=["val"]), gap=1 << 20)
    assert_type(wt.apply(plan), wt.PullResult)
    assert_type(wt.pull("hf://owner/name", path, seeds=["old"]).dataset, wt.Dataset)


def columns(path: Path) -> None:
    """Columns that come to samples later."""
    plan = wt.plan_add_columns(path, "scores.parquet", name="clip", fields=["score"], progress=Dots())
    assert_type(wt.apply(plan), wt.ColumnsResult | wt.FinishResult)
    wt.add_columns(path, Path("scores.csv"), key_column="id")
    found = wt.list_columns("s3://bucket/shards")
    assert_type(found, tuple[wt.ColumnsInfo, ...])
    assert_type(found[0].values["score"], int)
    lengths = wt.map_columns(path, lambda sample: {"size": len(sample["jpg"])}, columns={"size": "int64"}, name="sizes")
    assert_type(lengths, wt.ColumnsResult | wt.FinishResult)
    assert_type(wt.apply(wt.plan_remove_columns(path, "clip")), wt.ColumnsResult | wt.FinishResult)
    assert_type(wt.remove_columns(path, "clip"), wt.ColumnsResult | wt.FinishResult)


def steps(path: Path) -> None:
    """Steps on images."""
    crop = wt.image.random_resized_crop((224, 160), scale=(0.5, 1.0), interpolation="bicubic")
    train = wt.image.pipeline(crop, wt.image.flip(), wt.image.normalize(dtype="float16"), layout="NCHW")
    assert_type(train, wt.image.Pipeline)
    assert_type(train.shape(3), tuple[int, int, int])
    wt.loader(path, batch_size=8, image_transform=train)
    wt.loader(path, "val", batch_size=8, image_transform=wt.image.pipeline(wt.image.resize_crop(224, resize=256)))


def values(dataset: wt.Dataset, progress: wt.Progress, executor: wt.Executor) -> None:
    """Values and errors."""
    assert_type(dataset.manifest, wt.Manifest)
    assert_type(dataset.manifest.shards, list[tuple[str, wt.ShardEntry]])
    wt.verify(dataset, progress=progress, executor=executor)
    skip = wt.Skip("caption-missing", "a.jpg")
    assert_type(skip.reason, str)
    try:
        wt.scan("nowhere")
    except (wt.NotFoundError, wt.SourceChangedError, wt.StoreError, wt.BusyError, wt.SkippedError) as error:
        assert_type(error.code, str)
    except (wt.UnsupportedVersionError, wt.FormatError, wt.UsageError, wt.WorkerLostError, wt.WorkerError) as error:
        assert_type(error.hint, str)
    except wt.WdsError as error:
        assert_type(error.to_dict(), dict[str, str])
