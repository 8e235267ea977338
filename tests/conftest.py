"""Options, and fixtures for every test: the servers, each started once when a test first asks for it."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.azurite import azurite_server
from tests.servers.google import google_server
from tests.servers.localstack import localstack_server
from tests.servers.nginx import nginx_server
from tests.servers.rclone import rclone_server
from tests.servers.swift import swift_server
from tests.support import warm
from tests.support.browser import Browser, started_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.azurite import AzureServer
    from tests.servers.google import GoogleServer
    from tests.servers.nginx import WebServer
    from tests.servers.s3 import S3Server

# A busy machine is not a bug: no law fails because its examples took long.
settings.register_profile("wdstools", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wdstools")

_MEMORY, _MEMORY_BYTES = "/dev/shm", 4 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Quick tests write to memory where there is enough: most of what they wait for is fsync. Caches are the run's own."""
    quick = config.option.markexpr == "not slow" and not os.environ.get("PYTEST_DEBUG_TEMPROOT")
    if quick and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = _MEMORY
    cache = tempfile.mkdtemp(prefix="wdstools-tests-cache-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    os.environ["XDG_CACHE_HOME"] = cache
    config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))
    # but compiling takes longer than most tests: what one run compiled is there for the next
    os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(config.rootpath, ".pytest_cache", "kernels"))


#: Folders whose files take long. They begin, in whatever order; what is left at the end is short, and none waits for it.
_LONG = ("servers", "faults", "integration")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that pytest's processes end at the same time (with ``--no-loadscope-reorder``)."""
    rank = {name: at for at, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """A million objects are made to find the tests, and all stay: looking through them again and again costs a third of the run."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on the collector sees what tests make, and nothing older."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 store."""
    with swift_server(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server that answers ranges."""
    with nginx_server(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An emulator with Amazon's checksum semantics."""
    with localstack_server(tmp_path_factory.mktemp("localstack")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Microsoft's emulator of Azure Blob Storage."""
    with azurite_server(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def google() -> Iterator[GoogleServer]:
    """Google Cloud Storage as far as it is asked, with the metadata service of a machine there."""
    with google_server() as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that ignores ranges and conditions and echoes wrong checksums."""
    with rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def pytest_sessionfinish() -> None:
    """The process that commands come from has no more to do."""
    warm.end()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fuzz-seconds``: how long the slow tests fuzz each parser."""
    parser.addoption("--fuzz-seconds", type=int, default=30, help="seconds of fuzzing for each target (slow tests)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Not for the whole run: while it lives, an event loop runs in this thread."""
    with started_browser() as started:
        yield started
