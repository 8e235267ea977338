"""OpenStack Swift with its S3 API: one node, no replication, on loopback. A production store, not an emulator.

It checks signatures, payload hashes and checksums on PUT and ``If-None-Match``; it gives no checksums on HEAD.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.daemon import await_port, free_port, running
from tests.servers.install import installed
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Its parts wait for one another by the clock, from half a second on. A part that is late counts as broken, and an
#: object whose container was late is missing from listings: on a busy machine both happen.
_PATIENCE = "120"
_PATIENT = {"conn_timeout": _PATIENCE, "node_timeout": _PATIENCE, "client_timeout": _PATIENCE}
#: Where Swift's Python finds what we add to it, and nothing else of ours.
_IN_SWIFT = Path(__file__).parent / "in_swift"
_PROXY_PIPELINE = "catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy slo dlo proxy-server"


@contextlib.contextmanager
def swift_server(folder: Path) -> Iterator[S3Server]:
    """A Swift with nothing in it, its data under ``folder`` (a file system with extended attributes)."""
    programs = installed("swift")
    for name in ("etc", "data/d1"):
        (folder / name).mkdir(parents=True)
    ports = {name: free_port() for name in ("account", "container", "object", "proxy")}
    (folder / "etc/swift.conf").write_text(
        _ini(
            {
                "swift-hash": {"swift_hash_path_suffix": "tests", "swift_hash_path_prefix": "tests"},
                "storage-policy:0": {"name": "only", "default": "yes"},
            }
        )
    )
    for name in ("account", "container", "object"):
        (folder / f"etc/{name}.conf").write_text(_ini(_storage(folder, name, ports[name])))
    _make_rings(programs, folder, ports)
    (folder / "etc/proxy.conf").write_text(_ini(_proxy(folder, ports["proxy"])))
    with contextlib.ExitStack() as stack:
        started = {}
        for name, port in ports.items():
            command = [programs / f"swift-{name}-server", folder / f"etc/{name}.conf"]
            server = running(command, port, folder / f"{name}.log", env={"PYTHONPATH": str(_IN_SWIFT)}, wait=False)
            started[name] = stack.enter_context(server)
        for name, process in started.items():
            await_port(process, ports[name], folder / f"{name}.log")
        yield S3Server(f"http://127.0.0.1:{ports['proxy']}", "test:tester", "testing")


def _make_rings(programs: Path, folder: Path, ports: dict[str, int]) -> None:
    """One device in each ring; by Swift's own code, in one process for all three."""
    script = "import sys\nfrom swift.common.ring import RingBuilder\n" + "".join(
        f"""
builder = RingBuilder(4, 1, 0)
builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port={ports[name]}, device="d1", weight=1, meta="",
                     replication_ip="127.0.0.1", replication_port={ports[name]}))
builder.rebalance()
builder.get_ring().save(sys.argv[1] + "/{name}.ring.gz")
"""
        for name in ("account", "container", "object")
    )
    command = [str(programs / "python"), "-c", script, str(folder / "etc")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})


def _common(folder: Path, port: int) -> dict[str, str]:
    return {
        "bind_ip": "127.0.0.1",
        "bind_port": str(port),
        "user": getpass.getuser(),
        "swift_dir": str(folder / "etc"),
        "workers": "1",
        "log_level": "WARNING",
    }


def _storage(folder: Path, name: str, port: int) -> dict[str, dict[str, str]]:
    own = {"devices": str(folder / "data"), "mount_check": "false", "disable_fallocate": "true", **_PATIENT}
    own["container_update_timeout"] = _PATIENCE
    return {
        "DEFAULT": _common(folder, port) | own | {"fallocate_reserve": "0", "db_preallocation": "off"},
        "pipeline:main": {"pipeline": f"{name}-server"},
        f"app:{name}-server": {"use": f"egg:swift#{name}"},
    }


def _proxy(folder: Path, port: int) -> dict[str, dict[str, str]]:
    filters = {name: {"use": f"egg:swift#{name}"} for name in _PROXY_PIPELINE.split()[:-1]}
    filters["cache"] = {"paste.filter_factory": "memory_cache:filter_factory"}
    filters["tempauth"] |= {"user_test_tester": "testing .admin"}
    filters["s3api"] |= {"s3_acl": "false", "location": "us-east-1", "check_bucket_owner": "false"}
    filters["slo"] |= {"allow_async_delete": "false"}
    return {
        "DEFAULT": _common(folder, port),
        "pipeline:main": {"pipeline": _PROXY_PIPELINE},
        "app:proxy-server": {
            "use": "egg:swift#proxy",
            "allow_account_management": "true",
            "account_autocreate": "true",
            "recoverable_node_timeout": _PATIENCE,
            **_PATIENT,
        },
        **{f"filter:{name}": options for name, options in filters.items()},
    }


def _ini(sections: dict[str, dict[str, str]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
        for name, options in sections.items()
    )
