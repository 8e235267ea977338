"""Fixtures for tests of servers that several files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.proxy import fault_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.proxy import FaultProxy
    from tests.servers.s3 import S3Server


@pytest.fixture
def proxy(swift: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A way to Swift that notes what is asked and can go wrong; the environment leads there."""
    with fault_proxy(swift.endpoint) as proxy:
        for name, value in swift.at(proxy.endpoint).env.items():
            monkeypatch.setenv(name, value)
        yield proxy
