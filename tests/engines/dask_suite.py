"""Dask: the laws of every executor, behind ``FuturesExecutor``. Two worker processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from distributed import Client, LocalCluster

import wdstools as wt
from tests.support.executor_laws import ExecutorLaws, HostLaws, LossLaws
from tests.support.verbs_alike import make_images, must_find, run_verbs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as made:
        yield made


@pytest.fixture
def executor(client: Any) -> Iterator[wt.FuturesExecutor]:
    made = wt.FuturesExecutor(client.get_executor())
    yield made
    made.close()


class TestLaws(ExecutorLaws, HostLaws):
    """The laws, on Dask."""


class TestLosses(LossLaws):
    """Dask itself gives the task of a lost worker to others; a nanny starts another worker."""

    def test_an_item_whose_worker_is_always_killed_has_an_outcome_of_its_own(
        self, executor: Any, tmp_path: Path
    ) -> None:
        pytest.skip("Dask has attempts of its own, so they are not three")


def test_the_number_of_jobs_is_the_clients(client: Any, executor: wt.FuturesExecutor) -> None:
    client.wait_for_workers(2)  # one that was killed is being replaced
    assert executor.jobs == 2


def test_every_verb_gives_the_same(executor: wt.FuturesExecutor, tmp_path: Path) -> None:
    source = make_images(str(tmp_path / "images"))
    expected = run_verbs(source, str(tmp_path / "serial"), None)
    must_find(expected)
    assert run_verbs(source, str(tmp_path / "x"), executor) == expected
