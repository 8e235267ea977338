"""doctor: can every consumer open this dataset? Runs each one that is installed, and checks the files for the others."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from wdstools.dataset import Dataset, as_dataset
from wdstools.errors import StoreError, UsageError, WdsError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import executor_or_here
from wdstools.formats.card import hugging_face_names
from wdstools.interop import probe
from wdstools.interop.tarindexes import dali_path, webshart_path
from wdstools.ops.emit import CONSUMERS, plan_emit
from wdstools.ops.patients import PATIENTS, Consumer
from wdstools.progress import Progress, Silent, under_way
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import Manifest
    from wdstools.options.declare import StrPath
    from wdstools.options.move import Reader
    from wdstools.reader.sample import Sample
    from wdstools.stores.base import Store


_REFERENCES = 8
_HANG_SECONDS = 3600
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Whether a consumer opens a dataset.

    ``status`` is works, fails, cannot (the dataset lacks what it needs) or not installed; ``how`` is how to open it there.
    The consumer read ``samples``; ``equal`` of them were compared and found equal.
    """

    consumer: str
    status: str
    how: str
    version: str = ""
    samples: int = 0
    equal: int = 0
    detail: str = ""


def doctor(
    dataset: Dataset | StrPath,
    consumers: Iterable[Reader] = ("all",),
    *,
    envs: StrPath | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[Diagnosis, ...]:
    """Have each reader open the dataset, in a process of its own, as its documentation says.

    It must return every sample, and some samples must match byte for byte (pixel for pixel if it decodes). Missing or
    damaged shards get a diagnosis of their own (``shards``); the readers are tried on the others.

    Args:
        dataset: A dataset in a folder, or its path.
        consumers: Which readers of ``PATIENTS`` to try, or ``all``.
        envs: A folder of environments, ``ENVS/CONSUMER/bin/python``; a reader without one is tried in this Python.
        executor: Runs the readers; without one, this process does, one after the other.
        progress: Receives the number of readers that have answered.

    Returns:
        A diagnosis for each reader.

    Raises:
        UsageError: There is no such reader, or the dataset is not in a folder.
        WdsError: The dataset could not be opened.
    """
    dataset = as_dataset(dataset)
    envs = None if envs is None else os.path.abspath(envs)
    if not isinstance(dataset.shards, LocalStore):
        raise UsageError(
            "other readers can only be tried on local datasets", where=dataset.shards.url, hint="wdstools pull URL DIR"
        )
    names = [part for name in consumers for part in name.split(",") if part]
    unknown = next((name for name in names if name not in PATIENTS and name != "all"), None)
    if unknown is not None:
        raise UsageError(
            "no such consumer", where=option("consumers"), expected=", ".join((*PATIENTS, "all")), got=unknown
        )
    chosen = [name for name in PATIENTS if name in names or "all" in names]
    progress = progress or Silent()
    found: list[Diagnosis] = []
    with tempfile.TemporaryDirectory() as folder:
        spec = _specification(dataset, folder)
        if spec["wrong"]:
            found.append(_shards_diagnosis(dataset, spec["wrong"]))
            chosen = chosen if spec["references"] else []
        tasks = [_AskTask(dataset, name, spec, envs, folder) for name in chosen]
        with under_way(progress, "doctor", len(chosen), "consumers") as tick:
            found += run_all(executor_or_here(executor), _ask_one, tasks, tick)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _AskTask:
    """A reader to try; ``spec`` is its input, and ``folder`` has the reference samples."""

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    dataset: Dataset
    name: str
    spec: dict[str, Any]
    envs: str | None
    folder: str


def _ask_one(task: _AskTask, tick: Tick) -> Diagnosis:
    """The diagnosis of one reader."""
    found = _diagnose(task.dataset, task.name, task.spec, _python_for(task.name, task.envs))
    tick(1)
    return found


def _python_for(name: str, envs: str | None) -> str | None:
    """A Python that has the consumer; "" for a program; None if it is not installed."""
    consumer = PATIENTS[name]
    if not consumer.module:
        return "" if shutil.which(name) else None
    if envs is not None and os.path.exists(path := os.path.abspath(os.path.join(envs, name, "bin", "python"))):
        return path
    try:
        return sys.executable if importlib.util.find_spec(consumer.module) else None
    except ModuleNotFoundError:  # its parent package is not installed
        return None


def _shards_diagnosis(dataset: Dataset, wrong: Sequence[str]) -> Diagnosis:
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return Diagnosis("shards", "fails", dataset.verify_command, detail=f"{wrong[0]}{more}")


def _there(store: Store, path: str) -> bool:
    try:
        store.head(path)
    except StoreError:
        return False
    return True


def _references(dataset: Dataset, present: Sequence[int], split: str, wrong: list[str]) -> Iterator[tuple[int, Sample]]:
    """Some samples of a split, with their positions in the shards that are there; errors of reading go to ``wrong``."""
    count = len(present)
    places = {round(i * (count - 1) / max(1, _REFERENCES - 1)) for i in range(_REFERENCES)} if count else set()
    for place in sorted(places):
        try:
            yield place, dataset.split(split)[present[place]]
        except WdsError as error:
            wrong.append(str(error).splitlines()[0])


def _specification(dataset: Dataset, folder: str) -> dict[str, Any]:
    """The input of ``probe``; the reference samples are written below ``folder``."""
    manifest, store = dataset.manifest, dataset.shards
    references: list[dict[str, Any]] = []
    there = {entry.path for _, entry in manifest.shards if _there(store, entry.path)}
    wrong = [f"{entry.path} is missing" for _, entry in manifest.shards if entry.path not in there]
    splits = {split: [e.path for e in entries if e.path in there] for split, entries in manifest.splits.items()}
    for split, entries in manifest.splits.items():
        present: list[int] = []
        first = 0
        for entry in entries:
            present += range(first, first + entry.samples) if entry.path in there else ()
            first += entry.samples
        for number, sample in _references(dataset, present, split, wrong):
            files = {}
            for member, extension in enumerate(sample):
                path = os.path.join(folder, f"{len(references)}-{member}")
                with open(path, "wb") as file:
                    file.write(sample.view(extension))
                files[extension] = path
            references.append({"split": split, "key": sample.key, "number": number, "files": files})
    spec: dict[str, Any] = {
        "root": os.path.abspath(_root(dataset, there)),
        "metadata": os.path.abspath(dataset.metadata.url),
        "splits": {split: paths for split, paths in splits.items() if paths},
        "samples": {
            split: sum(entry.samples for entry in entries if entry.path in there)
            for split, entries in manifest.splits.items()
            if splits[split]
        },
        "wrong": wrong,
        "huggingface_splits": {k: v for k, v in hugging_face_names(manifest).items() if splits[k]},
        "dali": {entry.path: dali_path(entry) for _, entry in manifest.shards},
        "webshart": {entry.path: webshart_path(entry.path) for _, entry in manifest.shards},
        "indexes": {entry.path: entry.index_path for _, entry in manifest.shards},
        "members": list(manifest.members),
        "image": manifest.image_extension,
        "references": references,
    }
    spec["path"] = os.path.join(folder, "spec.json")
    with open(spec["path"], "w", encoding="utf-8") as out:
        json.dump(spec, out)
    return spec


def _root(dataset: Dataset, there: Iterable[str]) -> str:
    """The folder to give to readers: the manifest's, if the shards or links to them are in it."""
    beside = isinstance(dataset.metadata, LocalStore) and all(_there(dataset.metadata, path) for path in there)
    return dataset.metadata.url if beside else dataset.shards.url


def _diagnose(dataset: Dataset, name: str, spec: dict[str, Any], python: str | None) -> Diagnosis:
    consumer, manifest = PATIENTS[name], dataset.manifest
    how = _how(consumer, manifest, spec)
    lacking = [member for member in consumer.needs if member not in manifest.members]
    if lacking:
        return Diagnosis(name, "cannot", how, detail=f"it needs {', '.join(lacking)} in every sample")
    wrong = _wrong_files(dataset, name)
    if python is None or wrong:
        status = "fails" if wrong else "not installed"
        return Diagnosis(
            name, status, how, detail=wrong or ("its files are correct" if name in CONSUMERS else "it needs no files")
        )
    try:
        result = _ask_program(name, spec) if python == "" else _ask(name, spec, python)
    except (StoreError, OSError, subprocess.SubprocessError) as error:
        return Diagnosis(name, "fails", how, detail=str(error))
    wanted = spec["samples"]
    right = result["samples"] == wanted and result["equal"] == result["compared"]
    detail = "" if right else f"samples {result['samples']}, expected {wanted}"
    detail += (
        "" if result["equal"] == result["compared"] else f"; {result['equal']} of {result['compared']} samples equal"
    )
    return Diagnosis(
        name,
        "works" if right else "fails",
        how,
        result["version"],
        sum(result["samples"].values()),
        result["equal"],
        detail,
    )


def _wrong_files(dataset: Dataset, name: str) -> str:
    """What is wrong with the files that a consumer needs; "" if nothing is."""
    if name not in CONSUMERS or (name == "huggingface" and dataset.manifest.profile == "canonical"):
        return ""
    try:
        steps = [step for step in plan_emit(dataset, [c for c in CONSUMERS if c == name]).steps if step.detail == name]
    except WdsError as error:
        return error.message
    return f"{steps[0].path} is missing or out of date: wdstools emit DATASET --for {name}" if steps else ""


def _how(consumer: Consumer, manifest: Manifest, spec: dict[str, Any]) -> str:
    split = "train" if "train" in spec["splits"] else next(iter(spec["splits"]))
    paths = spec["splits"][split]
    root, first = spec["root"], paths[0]
    braces = (
        f"{first[:-10]}{{{first[-10:-4]}..{paths[-1][-10:-4]}}}.tar"
        if manifest.profile == "canonical"
        else "::".join(paths)
    )
    return consumer.how.format(
        root=root, split=split, first=f"{root}/{first}", braces=f"{root}/{braces}", index=f"{root}/{spec['dali'][first]}",
        members=", ".join(map(repr, manifest.members)), image=manifest.image_extension,
    )  # fmt: skip


def _ask(name: str, spec: dict[str, Any], python: str) -> dict[str, Any]:
    folder = os.path.dirname(spec["path"])
    done = subprocess.run(
        # caches go to a temporary folder, and nothing looks for the dataset on a hub
        [
            "env",
            f"HOME={folder}",
            f"HF_HOME={folder}",
            "HF_HUB_OFFLINE=1",
            "HF_DATASETS_OFFLINE=1",
            python,
            os.path.abspath(probe.__file__),
            name,
            spec["path"],
        ],
        capture_output=True,
        check=False,
        timeout=_HANG_SECONDS,
        cwd=folder,
    )
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode != 0 or not lines:
        words = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise StoreError(words[:_LAST_WORDS], where=name)
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def _ask_program(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Have tar or bsdtar list every shard, and extract the reference members."""
    samples: dict[str, int] = {}
    listed: dict[str, str] = {}
    for split, paths in spec["splits"].items():
        keys = set()
        for path in paths:
            members = _output([name, "-tf", os.path.join(spec["root"], path)]).decode("utf-8", "replace").splitlines()
            listed |= dict.fromkeys(members, path)
            keys |= {
                (path, member.rpartition("/")[0], member.rpartition("/")[2].partition(".")[0]) for member in members
            }
        samples[split] = len(keys)
    equal = 0
    for reference in spec["references"]:
        names = {f"{reference['key']}.{ext}": path for ext, path in reference["files"].items()}
        equal += (
            all(
                _output([name, "-xOf", os.path.join(spec["root"], listed[member]), "--", member])
                == probe.read_file(path)
                for member, path in names.items()
                if member in listed
            )
            and names.keys() <= listed.keys()
        )
    words = _output([name, "--version"]).decode().splitlines()[0].split()
    found = next((word for word in words if word[:1].isdigit()), "")
    return {"version": found, "samples": samples, "compared": len(spec["references"]), "equal": equal}


def _output(command: Sequence[str]) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=_HANG_SECONDS).stdout
