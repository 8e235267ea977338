"""Ray: the laws of every executor, and what only a cluster can do wrong. Two raylets on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import ray
from ray.cluster_utils import Cluster

import wdstools as wt
from tests.servers.swift import swift_server
from tests.support import work
from tests.support.executor_laws import HANG_SECONDS, ExecutorLaws, LossLaws, found_of_numbers, values
from tests.support.verbs_alike import make_images, must_find, run_verbs
from wdstools.executors import ray_cluster as ours
from wdstools.executors.versions import Host, this_host
from wdstools.stores.local import LocalStore
from wdstools.stores.open import open_remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server

_NODE = {"num_cpus": 1, "memory": 4 << 30, "object_store_memory": 128 << 20}


def _started() -> Any:
    """A cluster; on a busy machine its server may not answer in time."""
    for attempt in range(5):
        try:
            return Cluster(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False})
        except (RuntimeError, SystemExit):
            if attempt == 4:
                raise
            time.sleep(5)
    raise AssertionError


@pytest.fixture(scope="module")
def cluster(swift: S3Server) -> Iterator[Any]:
    made = _started()
    made.add_node(**_NODE)
    made.wait_for_nodes()
    ray.init(made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Started before the cluster, whose workers have its environment from then on."""
    with swift_server(tmp_path_factory.mktemp("swift")) as server:
        os.environ.update(server.env)
        yield server


@pytest.fixture
def executor(cluster: Any) -> Iterator[wt.RayExecutor]:
    made = wt.RayExecutor()
    yield made
    made.close()


class TestLaws(ExecutorLaws, LossLaws):
    """The laws, on Ray."""


def test_two_raylets_give_two_jobs_on_one_disk(executor: wt.RayExecutor) -> None:
    assert (executor.jobs, executor.shared_disk) == (2, True)


def test_each_item_asks_for_what_was_said(cluster: Any) -> None:
    large, few, more = wt.RayExecutor(memory=3 << 30), wt.RayExecutor(jobs=1), wt.RayExecutor(num_cpus=0.25)
    assert (large.jobs, few.jobs, more.jobs) == (2, 1, 8)


def test_the_workers_of_a_host_read_an_array_in_one_place(cluster: Any, tmp_path: Path) -> None:
    """Two tasks at once on each of two raylets, each of which has a store of objects of its own."""
    executor = wt.RayExecutor(num_cpus=0.5)
    processes, places = found_of_numbers(executor, tmp_path / "marks")
    assert processes == executor.jobs == 4
    assert len(places) <= 2
    assert not any(place.startswith("private") for place in places)


def test_progress_comes_before_an_item_has_ended(executor: wt.RayExecutor, tmp_path: Path) -> None:
    told: list[int] = []

    def tick(count: int) -> None:
        told.append(count)
        (tmp_path / "go").touch()

    assert [outcome.result() for outcome in executor.map(work.tick_and_wait, [str(tmp_path / "go")], tick)] == [3]
    assert sum(told) == 3
    assert len(told) > 1


def test_hosts_with_other_versions_are_refused_at_the_start(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = this_host()

    def other(**versions: str) -> Host:
        return Host("here", real.files, {**real.versions, **versions})

    monkeypatch.setattr(ours, "this_host", lambda: other(pillow="1.0"))
    with pytest.raises(wt.UsageError) as caught:
        wt.RayExecutor()
    assert caught.value.code == "mixed-versions"
    assert "pillow 1.0 here" in caught.value.got
    said: list[str] = []
    monkeypatch.setattr(ours, "this_host", lambda: other(xxhash="0.1"))
    wt.RayExecutor(say=said.append).close()
    assert "xxhash 0.1 here" in said[0]


def test_paths_that_other_hosts_do_not_see_are_refused(executor: wt.RayExecutor, tmp_path: Path) -> None:
    source = make_images(str(tmp_path / "images"), 12)
    apart = wt.RayExecutor(shared_disk=False)
    with pytest.raises(wt.UsageError) as caught:
        wt.pack(source, os.path.relpath(tmp_path / "out"), executor=apart)
    assert caught.value.code == "path-not-shared"
    assert os.listdir(tmp_path) == ["images"]
    # an absolute path that every host turns out to see is good
    assert wt.pack(source, tmp_path / "out", executor=apart).root == wt.pack(source, tmp_path / "in").root


def test_hosts_without_a_common_disk_pack_from_bucket_to_bucket(cluster: Any, swift: S3Server, tmp_path: Path) -> None:
    apart = wt.RayExecutor(shared_disk=False)
    source = make_images(str(tmp_path / "images"), 24)
    bucket = swift.new_bucket()
    store = open_remote(f"s3://{bucket}/images")
    for info in LocalStore(source).list():
        store.put(info.key, LocalStore(source).get(info.key))
    expected = wt.pack(source, tmp_path / "near", shard_samples=6)
    made = wt.pack(f"s3://{bucket}/images", f"s3://{bucket}/city", shard_samples=6, executor=apart)
    assert (made.root, made.shards) == (expected.root, expected.shards)
    assert not wt.verify(f"s3://{bucket}/city", executor=apart).findings
    assert list(open_remote(f"s3://{bucket}/city").list(".wdstools/packing/")) == []


def test_a_relative_path_is_the_callers(
    executor: wt.RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(str(tmp_path / "images"), 12)
    monkeypatch.chdir(tmp_path)
    wt.pack("images", "out", executor=executor)
    assert (tmp_path / "out").is_dir()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_images(str(tmp_path_factory.mktemp("alike") / "images"))


@pytest.fixture(scope="module")
def expected(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = run_verbs(source, str(tmp_path_factory.mktemp("alike") / "serial"), None)
    must_find(found)
    return found


def test_every_verb_gives_the_same(
    executor: wt.RayExecutor, source: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    assert run_verbs(source, str(tmp_path / "x"), executor) == expected


#: A pack on the cluster, in a process of its own; each image takes a while, so that it can be killed in the middle.
_PACK = ("-m", "wdstools", "pack", "--shard-samples", "5", "--check", "decode", "--executor", "ray", "--ray-address")


def _pack(cluster: Any, source: str, dest: Path) -> subprocess.Popen[str]:
    command = [sys.executable, *_PACK, cluster.address, source, str(dest)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _wait_for_shards(process: subprocess.Popen[str], dest: Path, count: int) -> None:
    work_place = dest.with_name(f"{dest.name}.partial")
    deadline = time.monotonic() + HANG_SECONDS
    while len(list(work_place.rglob("*.tar"))) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def wanted(source: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return wt.pack(source, tmp_path_factory.mktemp("wanted") / "x", shard_samples=5, check="decode").root


def test_a_killed_worker_costs_nothing(cluster: Any, source: str, wanted: str, tmp_path: Path) -> None:
    process = _pack(cluster, source, tmp_path / "out")
    _wait_for_shards(process, tmp_path / "out", 2)
    while not _kill_workers():  # between two tasks a worker has another name
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.001)
    assert process.communicate(timeout=HANG_SECONDS)[0] is not None
    assert wt.open_dataset(tmp_path / "out").root == wanted


def _kill_workers() -> int:
    """Kill the workers of our raylets that are at work; how many there were."""
    killed = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                at_work = b"ray::serve" in file.read()
            if at_work and _parent(_parent(pid)) == str(os.getpid()):
                os.kill(int(pid), signal.SIGKILL)
                killed += 1
    return killed


def _parent(pid: str) -> str:
    """The process that started another."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[1]


def test_a_killed_raylet_costs_nothing(cluster: Any, source: str, wanted: str, tmp_path: Path) -> None:
    extra = cluster.add_node(**_NODE)
    cluster.wait_for_nodes()
    process = _pack(cluster, source, tmp_path / "out")
    _wait_for_shards(process, tmp_path / "out", 2)
    cluster.remove_node(extra, allow_graceful=False)
    said = process.communicate(timeout=HANG_SECONDS)[0]
    assert (tmp_path / "out").is_dir(), said
    assert wt.open_dataset(tmp_path / "out").root == wanted


def test_a_pack_whose_driver_was_killed_goes_on_when_it_is_repeated(
    cluster: Any, source: str, wanted: str, tmp_path: Path
) -> None:
    process = _pack(cluster, source, tmp_path / "out")
    _wait_for_shards(process, tmp_path / "out", 3)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out").exists()
    again = _pack(cluster, source, tmp_path / "out")
    again.communicate(timeout=HANG_SECONDS)
    assert wt.open_dataset(tmp_path / "out").root == wanted


def test_ctrl_c_cancels_what_is_under_way(cluster: Any, source: str, wanted: str, tmp_path: Path) -> None:
    process = _pack(cluster, source, tmp_path / "out")
    _wait_for_shards(process, tmp_path / "out", 2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=HANG_SECONDS)[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    found = ray.available_resources().get("CPU")
    deadline = time.monotonic() + HANG_SECONDS
    while found != 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        found = ray.available_resources().get("CPU")
    assert found == 2
    assert wt.pack(source, tmp_path / "out", shard_samples=5, check="decode").root == wanted


def test_an_item_that_no_host_can_take_is_told_not_waited_for(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_PATIENCE_SECONDS", 2)
    with pytest.raises(wt.StoreError) as caught:
        values(wt.RayExecutor(memory=1 << 40), work.square, range(2))
    assert caught.value.code == "no-worker"


def test_a_token_that_is_not_here_is_an_error_that_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "HOME": str(tmp_path), "PYTHONPATH": os.getcwd()}
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH_TOKEN")}
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        command = [
            sys.executable,
            "-m",
            "wdstools",
            "verify",
            str(tmp_path),
            "--executor",
            "ray",
            "--ray-address",
            address,
        ]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 4
    assert "auth_token" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_cluster_that_is_not_there_is_an_error() -> None:
    code = "import wdstools as wt; wt.RayExecutor('127.0.0.1:1')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no-cluster" in ran.stderr or "cannot be reached" in ran.stderr
