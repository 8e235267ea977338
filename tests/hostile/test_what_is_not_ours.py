"""Whatever lies around, under whatever name: no command removes or changes a file that wdstools has not written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset
from tests.support.outcome import contents
from tests.support.write_points import WritePoints
from wdstools.cli import commands
from wdstools.cli.program import app
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, UsageError, WdsError
from wdstools.executors.local import Serial
from wdstools.landing.answer import KNOWN, write_answer
from wdstools.landing.scratch import Scratch
from wdstools.ops.adopt import adopt
from wdstools.ops.append import plan_append
from wdstools.ops.demo import run_demo
from wdstools.ops.duplicates import find_duplicates
from wdstools.ops.emit import plan_emit, plan_emit_removal
from wdstools.ops.extract import extract
from wdstools.ops.mirror import plan_mirror
from wdstools.ops.pack import run_pack, scratch_of
from wdstools.ops.pull import plan_pull
from wdstools.ops.remove import plan_remove
from wdstools.ops.repair import plan_repair
from wdstools.ops.sign import sign
from wdstools.plan import apply
from wdstools.planning.options import make_options
from wdstools.progress import Silent
from wdstools.reader.select import Selection
from wdstools.sources.open import open_source
from wdstools.stores.partial_file import PART_SUFFIX, PartFile
from wdstools.stores.receipts import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Where files of a stranger lie, beside a new result and inside a dataset: names that wdstools itself uses among them.
BESIDE = [
    "out.partial/thesis.txt",
    "out.partial/.wdstools/manifest.json",
    "out.partial/.wdstools/journal.jsonl",
    "out.partial/.wdstools/lock",
    "out.partial/journal.jsonl",
    "out.partial/names",
    "out.partial/new/train/train-000000.tar",
    "out.partial/new/lost+found/x",
    "out.partial/unpacked/mine.tar",
    "out.partial",
    "out.unpacked/thesis.txt",
    "out.wdstools-tmp/new/README.md",
    "out.wdstools-tmp",
    "out/lost+found/x",
    "out/README.md",
    "out/.wdstools/partial/new/README.md",
    "out/.wdstools/notes.txt",
    "out/train/mine.txt",
]
INSIDE = [
    "d/train/annotations.csv",
    "d/train/eval/scores.json",
    "d/train/train-000000.tar.seed",
    "d/train/mine.seed.wdstools-tmp",
    "d/.wdstools/staged/notes.txt",
    "d/.wdstools/staged/new/README.md",
    "d/.wdstools/staged",
    "d/.wdstools/hashes/notes.txt",
    "d/.wdstools/cache/x",
    "d/notes/lost+found/x",
    "d/SHA256SUMS.old",
    "d/LICENSE",
]


def _pack_folder(work: Path) -> None:
    run_pack(open_source(f"{work}/source"), f"{work}/out", make_options(), executor=Serial())


def _pack_archive(work: Path) -> None:
    source = open_source(f"{work}/source.tar.gz", scratch=scratch_of(f"{work}/out"))
    run_pack(source, f"{work}/out", make_options(), executor=Serial(), restart=True)


def _keys(work: Path) -> Selection:
    return Selection(keys=frozenset([next(iter(open_dataset(f"{work}/d")["train"].keys()))]))


def _repair(work: Path, *, delete: bool) -> None:
    (work / "d/train/train-000000.tar").unlink()
    apply(plan_repair(f"{work}/d", spares=[f"{work}/whole"], delete=delete))


def _key(work: Path) -> str:
    path = work.parent / f"{work.name}.key"
    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return str(path)


COMMANDS: dict[str, Callable[[Path], object]] = {
    "pack a folder": _pack_folder,
    "pack an archive": _pack_archive,
    "pull": lambda work: apply(plan_pull(f"{work}/d", f"{work}/out")),
    "mirror": lambda work: apply(plan_mirror(open_dataset(f"{work}/d"), f"{work}/out")),
    "extract": lambda work: extract(open_dataset(f"{work}/d"), f"{work}/out"),
    "remove to new": lambda work: apply(plan_remove(f"{work}/d", _keys(work), output=f"{work}/out")),
    "remove in place": lambda work: apply(plan_remove(f"{work}/d", _keys(work))),
    "append to new": lambda work: apply(plan_append(f"{work}/d", f"{work}/more", output=f"{work}/out")),
    "append in place": lambda work: apply(plan_append(f"{work}/d", f"{work}/more", shards=1)),
    "repair": lambda work: _repair(work, delete=False),
    "sign": lambda work: sign(open_dataset(f"{work}/d"), key=_key(work)),
    "emit": lambda work: apply(plan_emit(open_dataset(f"{work}/d"), ["timm"])),
    "adopt": lambda work: adopt(f"{work}/d", f"{work}/out"),
    "duplicates": lambda work: find_duplicates(open_dataset(f"{work}/d")),
    "demo": lambda work: run_demo(f"{work}/out", 20, executor=Serial(), say=lambda _: None, progress=Silent()),
}

#: Commands of the command line that write nothing but a page that they are asked for (``KNOWN``), and what is in the
#: user's cache; what each is given beside the dataset.
READING = {
    "scan": (),
    "verify": (),
    "info": (),
    "ls": (),
    "head": (),
    "cat": ("KEY",),
    "stats": (),
    "diff": ("d",),
    "doctor": ("--for", "webdataset"),
    "bench": ("--seconds", "0.05"),
    "view": ("--html", "page.html"),
}


def test_every_command_of_the_command_line_is_driven() -> None:
    commands.load_all()
    driven = {words.split(" ")[0] for words in COMMANDS} | READING.keys() | {"schema"}  # which reads no dataset
    assert {command.name for command in app.registered_commands} == driven, "drive the new one here"


@pytest.mark.parametrize("command", READING)
def test_a_command_that_only_reads_changes_nothing(command: str, given_work: Path) -> None:
    for work in came(_copy(given_work)):
        theirs = _seed(work, [*BESIDE, *INSIDE])
        key = next(iter(open_dataset(f"{work}/d")["train"].keys()))
        words = {"KEY": f"{key}.txt", "d": str(work / "d"), "page.html": str(work / "page.html")}
        before = contents(work)
        ran = run_command(command, work / "d", *(words.get(word, word) for word in READING[command]), cwd=work)
        assert ran.code in (0, 1, 2, 3), ran.err  # 2: images of several sizes are not measured
        after = contents(work)
        after.pop("page.html", None)
        assert after == before
        assert theirs


@pytest.fixture(scope="module", name="given_work")
def _given_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("strangers")
    make_dataset(work, train=6, val=2, shard_samples=3)
    (work / "dataset").rename(work / "whole")
    write_city_pairs(work / "more", train=9, val=2)
    with tarfile.open(work / "source.tar.gz", "w:gz") as tar:
        tar.add(work / "source", ".")
    return work


def _copy(given_work: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("source", "whole", "more"):
            (work / name).symlink_to(given_work / name)
        (work / "source.tar.gz").symlink_to(given_work / "source.tar.gz")
        shutil.copytree(given_work / "whole", work / "d")
        yield work


def _seed(work: Path, paths: list[str]) -> dict[str, bytes]:
    """A stranger's files; of two names of which one would have to lie in the other, the first."""
    for number, path in enumerate(paths):
        target = work / path
        if target.exists() or any(parent.is_file() for parent in target.parents if parent != work):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"years of work %d" % number)
    return {path: (work / path).read_bytes() for path in paths if (work / path).is_file()}


def _drive(command: str, work: Path, paths: list[str], *, mounted: bool = False) -> None:
    theirs = _seed(work, paths)
    real = os.path.ismount
    if mounted:
        (work / "out").mkdir(exist_ok=True)
        os.path.ismount = lambda path: str(path) == str(work / "out") or real(path)
    try:
        COMMANDS[command](work)
    except WdsError:
        pass  # a refusal is as good
    finally:
        os.path.ismount = real
    left = {path: (work / path).read_bytes() if (work / path).is_file() else None for path in theirs}
    assert left == theirs


def _places(command: str) -> list[str]:
    """Where a stranger's file may be in a command's way."""
    return INSIDE if command == "emit" else BESIDE if command == "demo" else [*BESIDE, *INSIDE]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_touches_a_strangers_file(command: str, given_work: Path) -> None:
    places = _places(command)
    for place in places[[*COMMANDS].index(command) % 5 :: 5]:
        for work in _copy(given_work):
            _drive(command, work, [place])


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_wherever_it_lies(command: str, given_work: Path) -> None:
    for place in _places(command):
        for work in _copy(given_work):
            _drive(command, work, [place])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    command=st.sampled_from(sorted(COMMANDS)),
    paths=st.lists(st.sampled_from([*BESIDE, *INSIDE]), min_size=2, max_size=6, unique=True),
    mounted=st.booleans(),
)
def test_nor_several_of_them_on_a_disk_of_its_own(
    command: str, paths: list[str], mounted: bool, given_work: Path
) -> None:
    for work in _copy(given_work):
        _drive(command, work, paths, mounted=mounted)


def _stop() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("stranger", ["thesis.txt", "new/notes.txt", "new/train/mine.tar", "new/.wdstools/index/mine"])
def test_a_file_put_into_unfinished_work_stops_the_next_run_and_stays(
    stranger: str, restart: bool, mounted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, dest = write_city_pairs(tmp_path / "source", train=9, val=2), tmp_path / "out"
    place = tmp_path / "out.partial"
    if mounted:
        dest.mkdir()
        place = dest / ".wdstools/partial"
        real = os.path.ismount
        monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(dest) or real(path))

    def pack() -> None:
        options = make_options(shard_samples=3)
        run_pack(open_source(str(source)), str(dest), options, executor=Serial(), restart=restart)

    with WritePoints(60, _stop), pytest.raises(KeyboardInterrupt):
        pack()
    (place / stranger).parent.mkdir(parents=True, exist_ok=True)
    (place / stranger).write_text("years of work")
    if "/" in stranger:
        with pytest.raises(StoreError) as caught:
            pack()
        assert caught.value.code == "scratch-not-ours"
        assert Path(stranger).name in caught.value.got
        (place / stranger).rename(tmp_path / "mine")
        pack()
    else:  # nothing is removed at this level before the end, and then the dataset is there
        with pytest.raises(StoreError, match="wdstools did not write"):
            pack()
        (place / stranger).rename(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "years of work"
    assert open_dataset(str(dest)).manifest.totals["samples"] == 11


@pytest.mark.parametrize("mounted", [False, True])
def test_files_put_on_a_disk_beside_unfinished_work_stay_whatever_is_tried(
    mounted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, dest = write_city_pairs(tmp_path / "source", train=9, val=2), tmp_path / "out"
    dest.mkdir()
    real = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: (mounted and str(path) == str(dest)) or real(path))
    for point in (25, 40, 55):
        with WritePoints(point, _stop), pytest.raises(KeyboardInterrupt):
            run_pack(open_source(str(source)), str(dest), make_options(shard_samples=3), executor=Serial())
        (dest / "photos").mkdir(exist_ok=True)
        (dest / "photos/holiday.jpg").write_bytes(b"mine")
        for restart in (False, True):
            with pytest.raises(StoreError) as caught:
                run_pack(
                    open_source(str(source)), str(dest), make_options(seed=point), executor=Serial(), restart=restart
                )
            assert caught.value.code == "destination-not-empty"
        assert (dest / "photos/holiday.jpg").read_bytes() == b"mine"
        shutil.rmtree(dest / "photos")
    result = run_pack(open_source(str(source)), str(dest), make_options(shard_samples=3), executor=Serial())
    assert open_dataset(str(dest)).root == result.root


@pytest.mark.parametrize("mounted", [False, True])
def test_stopped_after_everything_was_there_the_same_command_says_that_it_is_done(
    mounted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, dest = write_city_pairs(tmp_path / "source", train=9, val=2), tmp_path / "out"
    if mounted:
        dest.mkdir()
        real = os.path.ismount
        monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(dest) or real(path))

    def pack() -> str:
        return run_pack(open_source(str(source)), str(dest), make_options(shard_samples=3), executor=Serial()).root

    place = dest / ".wdstools/partial" if mounted else tmp_path / "out.partial"
    with WritePoints(1, _stop, about=f"os.unlink {place}/names"), pytest.raises(KeyboardInterrupt):
        pack()
    assert open_dataset(str(dest)).manifest.totals["samples"] == 11
    before = contents(dest)
    root = pack()
    assert open_dataset(str(dest)).root == root
    after = contents(dest)
    assert {path: before[path] for path in after} == after
    assert not place.exists()
    with pytest.raises(StoreError) as caught:
        pack()
    assert caught.value.code == "destination-not-empty"


def test_a_finished_dataset_that_was_changed_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    source, dest = write_city_pairs(tmp_path / "source", train=9, val=2), tmp_path / "out"
    with WritePoints(1, _stop, about=f"os.unlink {tmp_path}/out.partial/names"), pytest.raises(KeyboardInterrupt):
        run_pack(open_source(str(source)), str(dest), make_options(), executor=Serial())
    (dest / "README.md").write_text("my card")
    before = contents(dest)
    with pytest.raises(StoreError) as caught:
        run_pack(open_source(str(source)), str(dest), make_options(), executor=Serial())
    assert caught.value.code == "destination-not-empty"
    assert contents(dest) == before
    assert not (tmp_path / "out.partial").exists()


@pytest.fixture(name="outside")
def _outside(tmp_path: Path) -> Path:
    """A folder of the user's beside everything."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "train-000000.tar").write_bytes(b"precious")
    (folder / "dataset.yaml").write_bytes(b"precious")
    (folder / "empty.py").write_bytes(b"")
    return folder


def _refused(work: Callable[[], object], outside: Path, *codes: str) -> None:
    """Refused with one of these codes, and the user's folder is as it was."""
    before = contents(outside)
    with pytest.raises(WdsError) as caught:
        work()
    assert caught.value.code in codes
    assert contents(outside) == before


def test_nothing_is_written_moved_or_deleted_through_links_of_a_stranger(
    given_work: Path, outside: Path, tmp_path: Path
) -> None:
    whole = open_dataset(f"{given_work}/whole")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/train").symlink_to(outside)
    _refused(lambda: apply(plan_mirror(whole, f"{tmp_path}/mirror")), outside, "path-unsafe")

    staged = Path(shutil.copytree(given_work / "whole", tmp_path / "staged"))
    (staged / ".wdstools/staged").mkdir()
    (staged / ".wdstools/staged/train").symlink_to(outside)
    commit = {"moved": {"train/dataset.yaml": [0, 0, 0]}, "deleted": {}}
    (staged / ".wdstools/staged/commit.json").write_text(json.dumps(commit))
    _refused(lambda: apply(plan_repair(str(staged))), outside, "stage-not-ours")

    emitting = Path(shutil.copytree(given_work / "whole", tmp_path / "emitting"))
    (emitting / ".nv-meta").symlink_to(outside)
    _refused(
        lambda: apply(plan_emit(open_dataset(str(emitting)), ["energon"])), outside, "path-unsafe", "file-in-the-way"
    )

    listed = Path(shutil.copytree(given_work / "whole", tmp_path / "listed"))
    apply(plan_emit(open_dataset(str(listed)), ["open_clip"]))
    (listed / "sub").symlink_to(outside)
    list_path = listed / ".wdstools/emitted.json"
    document = json.loads(list_path.read_text())
    document["files"]["sub/empty.py"] = ["open_clip", hashlib.sha256(b"").hexdigest()]
    list_path.write_text(json.dumps(document))
    _refused(
        lambda: apply(plan_emit_removal(open_dataset(str(listed)), ["all"])), outside, "path-unsafe", "emitted-damaged"
    )


def test_tars_that_somebody_put_where_archives_are_unpacked_stay(
    given_work: Path, outside: Path, tmp_path: Path
) -> None:
    def pack() -> None:
        source = open_source(f"{given_work}/source.tar.gz", scratch=scratch_of(f"{tmp_path}/out"))
        run_pack(source, f"{tmp_path}/out", make_options(), executor=Serial())

    place = tmp_path / "out.partial"
    place.mkdir()
    (place / MARK).write_text('{"id": "x", "owner": "wdstools"}')
    (place / "unpacked").symlink_to(outside)
    _refused(pack, outside, "scratch-not-ours")
    (place / "unpacked").unlink()
    (place / "unpacked").mkdir()
    (place / "unpacked/mine.tar").write_bytes(b"precious")
    _refused(pack, place / "unpacked", "scratch-not-ours")


def test_a_part_of_a_download_that_is_a_link_is_not_written_through(outside: Path, tmp_path: Path) -> None:
    (tmp_path / f"x{PART_SUFFIX}").symlink_to(outside / "dataset.yaml")
    with pytest.raises(StoreError):
        PartFile(str(tmp_path / "x"))
    assert (outside / "dataset.yaml").read_bytes() == b"precious"


@pytest.mark.parametrize("dest", ["", "hf://datasets/o/n", "http://user:pw@host/x", "http:/user:pw@host/x"])
def test_an_address_is_no_folder_to_make_something_in(dest: str, given_work: Path, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path), pytest.raises(UsageError) as caught:
        run_pack(open_source(f"{given_work}/source"), dest, make_options(), executor=Serial())
    assert caught.value.code in ("destination-elsewhere", "store-unknown")  # the latter for one that is mistyped
    assert "pw" not in str(caught.value)
    with contextlib.chdir(tmp_path), pytest.raises(UsageError):
        extract(open_dataset(f"{given_work}/whole"), dest)
    assert list(tmp_path.iterdir()) == []


def test_marks_of_a_run_that_was_killed_when_all_was_there_go_with_the_next(given_work: Path, tmp_path: Path) -> None:
    whole = open_dataset(f"{given_work}/whole")
    place = tmp_path / "files.wdstools-tmp"
    with WritePoints(1, _stop, about=f"os.unlink {place}/names"), pytest.raises(KeyboardInterrupt):
        extract(whole, f"{tmp_path}/files")
    assert place.exists()
    before = contents(tmp_path / "files")
    with pytest.raises(StoreError) as caught:
        extract(whole, f"{tmp_path}/files")
    assert caught.value.code == "destination-not-empty"
    assert not place.exists()
    assert contents(tmp_path / "files") == before


def _pack_in_parts(work: Path) -> None:
    options = make_options(shard_samples=3)
    run_pack(open_source(f"{work}/source"), f"{work}/out", options, executor=Serial())


def _unpack_and_pack(work: Path) -> None:
    source = open_source(f"{work}/source.tar.gz", scratch=scratch_of(f"{work}/out"))
    run_pack(source, f"{work}/out", make_options(shard_samples=3), executor=Serial())


#: Commands that make something beside its place, that place, and a name that each of them will write in it.
IN_WORK = {
    "pack": (_pack_in_parts, "out.partial/new", "train/train-000001.tar"),
    "pack, a small file": (_pack_in_parts, "out.partial/new", "README.md"),
    "pack, an index": (_pack_in_parts, "out.partial/new", ".wdstools/index/train-000001.parquet"),
    "pack an archive": (_unpack_and_pack, "out.partial/unpacked", "source.tar"),
    "pull": (COMMANDS["pull"], "out.partial/new", "train/train-000001.tar"),
    "extract": (COMMANDS["extract"], "out.wdstools-tmp/new", "img/train/rome/5.jpg"),
    "remove to new": (COMMANDS["remove to new"], "out.wdstools-tmp/new", "train/train-000001.tar"),
    "remove in place": (COMMANDS["remove in place"], "d/.wdstools/staged/new", "SHA256SUMS"),
}


@contextlib.contextmanager
def _stopped_when_named(target: Path, *, after: bool) -> Iterator[None]:
    """A run is stopped where a file gets this name: before, or just after."""

    def stopping(real: Callable[..., None]) -> Callable[..., None]:
        def call(source: str, to: str, **named: object) -> None:
            if str(to) != str(target):
                return real(source, to, **named)
            if after:
                real(source, to, **named)
            raise KeyboardInterrupt

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", stopping(os.rename))
        patch.setattr(os, "link", stopping(os.link))
        yield


@pytest.fixture(scope="module", name="stopped_work")
def _stopped_work(given_work: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Work of a command that was stopped, made once for each."""
    made: dict[tuple[str, bool], Path] = {}

    def give(command: str, after: bool) -> Path:
        if (command, after) not in made:
            act, place, name = IN_WORK[command]
            work = tmp_path_factory.mktemp("stopped")
            for path in given_work.iterdir():
                (work / path.name).symlink_to(path)
            shutil.copytree(given_work / "whole", work / "d")
            with pytest.raises(KeyboardInterrupt), _stopped_when_named(work / place / name, after=after), _killed():
                act(work)
            made[command, after] = work
        copy = tmp_path_factory.mktemp("copy") / "work"
        return Path(shutil.copytree(made[command, after], copy, symlinks=True))

    return give


@contextlib.contextmanager
def _killed() -> Iterator[None]:
    """Nothing is tidied when a command is stopped, as when its process is killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scratch, "remove", lambda _: None)
        patch.setattr("wdstools.sources.unpacked._remove_ours", lambda *_: None)
        yield


@pytest.mark.parametrize("how", ["before ours was there", "in place of ours, of the same size"])
@pytest.mark.parametrize("command", IN_WORK)
def test_a_file_put_into_unfinished_work_under_a_name_of_ours_stays(
    command: str, how: str, stopped_work: Callable[[str, bool], Path]
) -> None:
    act, place, name = IN_WORK[command]
    work = stopped_work(command, how != "before ours was there")
    target = work / place / name
    assert target.exists() == (how != "before ours was there")
    ours = target.read_bytes() if target.exists() else None
    target.parent.mkdir(parents=True, exist_ok=True)
    (work / "mine").write_bytes(bytes(len(ours)) if ours is not None else b"years of work")
    (work / "mine").rename(target)
    theirs = target.read_bytes()
    with pytest.raises(StoreError) as caught:
        act(work)
    assert caught.value.code == "scratch-not-ours"
    assert target.name in str(caught.value)
    assert target.read_bytes() == theirs


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("command", IN_WORK)
def test_unfinished_work_that_nobody_has_touched_is_taken_up(
    command: str, after: bool, stopped_work: Callable[[str, bool], Path]
) -> None:
    act, place, _ = IN_WORK[command]
    work = stopped_work(command, after)
    act(work)
    assert not (work / place).exists()


@pytest.mark.parametrize(
    ("flag", "arguments"),
    [
        ("--html", ["duplicates", "--level", "exact"]),
        ("--html", ["bench", "--seconds", "0.1"]),
        ("--html", ["duplicates", "--level", "exact", "--against", "whole"]),
        ("--keys-to", ["duplicates", "--level", "exact", "--against", "whole"]),
        ("--hashes-to", ["duplicates", "--level", "re-encode"]),
    ],
)
def test_no_answer_is_written_over_a_file_that_is_not_one_of_ours(
    flag: str, arguments: list[str], given_work: Path
) -> None:
    for work in came(_copy(given_work)):
        (work / "thesis").write_text("years of work")
        command, *rest = (str(work / word) if word == "whole" else word for word in arguments)
        ran = run_command(command, work / "d", *rest, flag, work / "thesis", "--json")
        assert (ran.code, ran.error["code"]) == (4, "file-in-the-way")
        assert (work / "thesis").read_text() == "years of work"


@pytest.mark.parametrize("kind", KNOWN)
def test_nor_over_a_pipe_a_device_or_through_a_link(kind: str, tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    for name in ("thesis", "link", "nowhere", "pipe", "/dev/null"):
        with pytest.raises(StoreError) as caught:
            write_answer(str(tmp_path / name), b"an answer", kind)
        assert caught.value.code == "file-in-the-way"
    assert (tmp_path / "thesis").read_text() == "years of work"
    assert not (tmp_path / "absent").exists()
    assert not Path("/dev/null").is_file()


def test_a_page_of_ours_is_replaced_also_through_a_link(given_work: Path) -> None:
    for work in came(_copy(given_work)):
        (work / "link.html").symlink_to(work / "page.html")
        for page in ("page.html", "link.html"):
            ran = run_command("duplicates", work / "d", "--level", "exact", "--html", work / page)
            assert ran.code in (0, 1)
        assert "<html" in (work / "page.html").read_text()
        assert (work / "link.html").is_symlink()
        for kind in KNOWN:
            write_answer(str(work / f"new.{kind}"), b"some bytes", kind)
            write_answer(str(work / f"new.{kind}"), b"some bytes", kind)
            with pytest.raises(StoreError) as caught:
                write_answer(str(work / f"new.{kind}"), b"others", kind)
            assert caught.value.code == "file-in-the-way"


def test_hashes_are_not_written_through_a_link_that_leads_out_of_a_dataset(given_work: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(given_work / "whole", tmp_path / "theirs")
    theirs = tmp_path / "victim"
    theirs.mkdir()
    for _, entry in open_dataset(str(copy)).manifest.shards:
        (theirs / os.path.basename(entry.index_path)).write_bytes(b"precious")
    (copy / ".wdstools/hashes").symlink_to(theirs)
    before = contents(theirs)
    ran = run_command("duplicates", copy, "--json")
    assert (ran.code, ran.error["code"]) == (4, "path-unsafe")
    assert contents(theirs) == before
    assert run_command("duplicates", copy, "--cache", tmp_path / "cache").code in (0, 1)
    assert contents(theirs) == before
