"""What S3 clients let pass: ``python -m benchmarks.let_pass`` writes the table of docs/mirroring.md.

One object of 20 MB on a real S3 server, fetched through the tests' fault proxy, every client a whole command. A client
"takes it" when it ends with code 0 and the file is not the object.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.measure import WDSTOOLS
from tests.servers.install import installed
from tests.servers.proxy import Fault, FaultProxy, fault_proxy
from tests.servers.swift import swift_server
from tests.support.city_pairs import write_city_pairs

if TYPE_CHECKING:
    from tests.servers.s3 import S3Server

PAGE = Path(__file__).parents[1] / "docs/mirroring.md"
BEGIN, END = "<!-- let_pass:begin -->\n", "<!-- let_pass:end -->"
_CLIENTS = ("boto3", "s3fs", "aws s3 cp", "s5cmd", "rclone")
_FAULTS = {
    "flip": "one bit flipped on its way",
    "foreign": "another object's bytes, right length",
    "short": "half a body that says it is whole",
    "range-ignored": "ranges answered with the whole object",
    "wrong-range": "a range answered with another one",
    "reset": "the connection breaks in the middle",
    "rot": "one bit flipped where it lies",
}
#: How often: a server that ignores ranges does so always. One such answer among several that come at once does harm or not,
#: as chance has it.
_TIMES = {"range-ignored": 1000}
_SIZE = 20_000_000
_SECONDS = 25


def main() -> None:
    """Make the table and put it into the page."""
    with tempfile.TemporaryDirectory() as scratch:
        (swift := Path(scratch, "swift")).mkdir()
        with swift_server(swift) as server, fault_proxy(server.endpoint) as proxy:
            os.environ.update(server.at(proxy.endpoint).env)
            lines = _table(server, proxy, Path(scratch))
    text = PAGE.read_text()
    block = f"{BEGIN}{lines}{END}"
    PAGE.write_text(re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL))
    print(lines)


def _table(server: S3Server, proxy: FaultProxy, scratch: Path) -> str:
    bucket, data = server.new_bucket(), random.Random(1).randbytes(_SIZE)
    server.client().put_object(Bucket=bucket, Key="x.tar", Body=data)
    source = write_city_pairs(scratch / "source", train=400, val=0)
    subprocess.run([*WDSTOOLS, "pack", source, scratch / "dataset", "-q"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*WDSTOOLS, "mirror", scratch / "dataset", f"s3://{bucket}/dataset", "-y", "-q"], check=True)
    rows = [f"| | {' | '.join(_CLIENTS)} | wdstools pull |", "|---|" + "---|" * (len(_CLIENTS) + 1)]
    for fault, what in _FAULTS.items():
        if fault == "rot":
            rotten = data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]
            server.client().put_object(Bucket=bucket, Key="x.tar", Body=rotten)
        cells = [_try(name, proxy, bucket, fault, data, scratch) for name in _CLIENTS]
        sys.stderr.write(f"{fault}: {cells}\n")
        rows.append(f"| {what} | {' | '.join(cells)} | {_ours(server, proxy, bucket, fault, scratch)} |")
    return "\n".join(rows) + "\n"


def _break(proxy: FaultProxy, fault: str, path: str, body: bytes) -> None:
    """For the object itself: clients that list first are not to spend the fault on that."""
    proxy.clear()
    if fault != "rot":
        proxy.add(Fault(fault, path=path, times=_TIMES.get(fault, 1), body=body, at=12_345))


def _try(name: str, proxy: FaultProxy, bucket: str, fault: str, data: bytes, scratch: Path) -> str:
    programs = installed("s3fs" if name == "s3fs" else "clients")
    _break(proxy, fault, f"/{bucket}/x.tar", data if fault == "range-ignored" else b"something else")
    target = scratch / "fetched"
    target.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            clients.fetch(name, programs, bucket, "x.tar", str(target)),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if fault != "rot" and proxy.faults and proxy.faults[0].times == _TIMES.get(fault, 1):
        return "(not met)"
    if done.returncode != 0:
        return "refuses"
    right = target.exists() and hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(data).digest()
    return "gets it right" if right else "**takes it**"


def _ours(server: S3Server, proxy: FaultProxy, bucket: str, fault: str, scratch: Path) -> str:
    shard = (scratch / "dataset/train/train-000000.tar").read_bytes()
    if fault == "rot":
        broken = shard[:9000] + bytes([shard[9000] ^ 1]) + shard[9001:]
        server.client().put_object(Bucket=bucket, Key="dataset/train/train-000000.tar", Body=broken)
    _break(proxy, fault, "train-000000.tar", shard if fault == "range-ignored" else b"something else")
    target = scratch / f"ours-{fault}"
    done = subprocess.run([*WDSTOOLS, "pull", f"s3://{bucket}/dataset", target, "-q"], capture_output=True, check=False)
    if done.returncode != 0:
        return "refuses, names the sample" if b"sample" in done.stderr else "refuses"
    return "gets it right" if (target / "train/train-000000.tar").read_bytes() == shard else "**takes it**"


if __name__ == "__main__":
    main()
