"""A Ray cluster as the executor sees it: its hosts, its free capacity, the paths it sees, and a pool for parcels."""

from __future__ import annotations

import logging
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

from wdstools.errors import StoreError, UsageError, option
from wdstools.executors.afar import Answer, LostWorkerError
from wdstools.executors.marks import Mark
from wdstools.executors.ray_tasks import TELL_SECONDS, Board, ask_host, serve
from wdstools.executors.versions import TOLD, Host, differing, refuse_mixture, this_host

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from wdstools.executors.afar import Parcel
    from wdstools.executors.packed import Nearby, Packed

_CONNECT_SECONDS = 10
_PROBE_SECONDS = 60
#: How long to wait while the cluster has no room for anything, as when it starts its first host.
_PATIENCE_SECONDS = 900
_CANCEL_SECONDS = 20


class Cluster:
    """A connected cluster. ``needs`` is what an item requests, as Ray's task options; ``say`` receives warnings."""

    def __init__(self, address: str | None, needs: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._ray = _import_ray()
        self._needs = needs
        self._say = say
        self._hosts: dict[str, Host | None] = {}
        self._room = 0
        self._looked = -TELL_SECONDS
        self._seen: dict[tuple[str, frozenset[str]], bool] = {}
        self._objects: dict[str, Any] = {}
        self._board: Any = None
        self._opened = not self._ray.is_initialized()
        if self._opened:
            _connect(self._ray, address)
        try:
            self.look()
            self._board = self._ray.remote(Board).options(num_cpus=0, max_restarts=-1).remote()
        except BaseException:
            self.close()
            raise
        self._task = self._ray.remote(serve).options(max_retries=0, **needs)

    @property
    def room(self) -> int:
        """How many items the cluster has room for now."""
        self.look()
        return self._room

    @property
    def one_disk(self) -> bool:
        """Whether all hosts see this machine's files, because they are this machine."""
        return all(host is not None and host.files == this_host().files for host in self._hosts.values())

    def close(self) -> None:
        """Release everything, and end a connection or a cluster that was opened here."""
        self._objects.clear()
        if self._opened:
            self._ray.shutdown()
        elif self._board is not None and self._ray.is_initialized():
            self._ray.kill(self._board)
        self._opened, self._board = False, None

    def look(self) -> None:
        """Look up the hosts and their capacity, and check that new ones lead to the same results."""
        if time.monotonic() - self._looked < TELL_SECONDS:
            return
        nodes = self._ask_new()
        self._room = sum(_fitting(node["Resources"], self._needs) for node in nodes.values())
        self._looked = time.monotonic()

    def _ask_new(self) -> dict[str, Any]:
        """All nodes, after asking each new one which host it is: None if it is alive and does not answer."""
        deadline = time.monotonic() + _PROBE_SECONDS
        while True:
            nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
            self._hosts = {name: host for name, host in self._hosts.items() if name in nodes}
            answers = self._on_each([name for name in nodes if name not in self._hosts])
            # a node that has just died is listed for a while: only one that stays silent counts
            given_up = time.monotonic() > deadline
            for name, host in answers.items():
                if host is not None:
                    self._judge(host)
                if host is not None or given_up:
                    self._hosts[name] = host
            if all(name in self._hosts for name in nodes):
                return nodes
            time.sleep(TELL_SECONDS)

    def _judge(self, host: Host) -> None:
        """Refuse a host whose results could differ, and report other differences."""
        refuse_mixture(this_host(), host)
        if other := differing(this_host(), host, TOLD):
            self._say(f"host {host.name} has other versions, which do not affect results: {'; '.join(other)}")

    def _on_each(self, names: Collection[str], ask: Callable[[], Any] | None = None) -> dict[str, Any]:
        """What a function returns on some nodes (by default which host each is); None for those that do not answer."""
        from ray.exceptions import RayError, RayTaskError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At

        asked = self._ray.remote(ask_host)
        refs = {
            name: asked.options(num_cpus=0, scheduling_strategy=At(node_id=name, soft=False), max_retries=1).remote(ask)
            for name in names
        }
        deadline = time.monotonic() + _PROBE_SECONDS
        found: dict[str, Any] = {}
        for name, ref in refs.items():
            try:
                found[name] = self._ray.get(ref, timeout=max(1.0, deadline - time.monotonic()))
            except RayTaskError as error:
                raise UsageError(
                    "wdstools cannot run on a host of the cluster",
                    code="mixed-versions",
                    where=f"node {name}",
                    got=str(error.cause or error).splitlines()[-1],
                    hint="install wdstools and its dependencies in the same versions on every host",
                ) from error
            except RayError:
                found[name] = None
        return found

    def sees(self, path: str) -> bool:
        """Whether all hosts see a path as this machine does: a randomly named file, created here, exists there too."""
        others = frozenset(n for n, host in self._hosts.items() if host is None or host.files != this_host().files)
        if (path, others) not in self._seen:
            with Mark(path) as look:
                answers = self._on_each(others, look)
            alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
            self._seen[path, others] = all(seen for name, seen in answers.items() if name in alive)
        return self._seen[path, others]

    def send(self, parcel: Parcel, packed: Callable[[str], Packed], run: str) -> Any:
        """Submit a parcel to whichever worker takes it, with the objects that it may need."""
        for digest in parcel.needed:
            if digest not in self._objects:
                self._objects[digest] = self._ray.put(packed(digest))
        values = {digest: self._objects[digest] for digest in parcel.needed}
        return self._task.remote(parcel, values, self._board, run)

    def told(self, run: str) -> dict[int, int]:
        """The progress of those items of a run that have reported any since the last call."""
        return dict(self._ask_board(lambda: self._board.take.remote(run)) or {})

    def where(self, run: str, number: int) -> str:
        """The host that began an item last."""
        return self._ask_board(lambda: self._board.where.remote(run, number)) or ""

    def _ask_board(self, ask: Callable[[], Any]) -> Any:
        from ray.exceptions import RayError

        try:
            return self._ray.get(ask(), timeout=TELL_SECONDS * 5)
        except RayError:  # its host is gone, and Ray is restarting it
            return None


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError(
            "Ray is not installed", code="no-ray", where=option("executor", "ray"), hint="pip install 'wdstools[ray]'"
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Connect to the cluster; without an address, to one that runs here, or start one. Raises StoreError."""
    from ray.exceptions import RayError

    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is not None:
            _require_listener(address)
            ray.init(address, **quiet)
            return
        try:
            ray.init("auto", **quiet)
        except ConnectionError:
            ray.init("local", include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError, RayError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(
            "the Ray cluster cannot be reached",
            code="no-cluster",
            where=address or "",
            got=lines[0],
            hint="if the cluster requires a token, set RAY_AUTH_MODE=token and copy the head's ~/.ray/auth_token here; "
            "use the same versions of Ray and Python everywhere",
        ) from error


def _require_listener(address: str) -> None:
    """Raise OSError if nothing listens there: Ray itself would wait for many minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            pass


def _fitting(offered: Mapping[str, float], needs: Mapping[str, Any]) -> int:
    """How many items fit on a node."""
    wanted = {"CPU": needs["num_cpus"], "memory": needs["memory"], **needs.get("resources", {})}
    rooms = [offered.get(name, 0) / amount for name, amount in wanted.items() if amount]
    return int(min(rooms, default=1))


class RayPool:
    """The tasks of one run."""

    def __init__(self, cluster: Cluster, jobs: Callable[[], int], packed: Callable[[str], Packed]) -> None:
        self._cluster = cluster
        self._jobs = jobs
        self._packed = packed
        self._ray = _import_ray()
        self._run = secrets.token_hex(8)
        self._numbers: dict[Any, int] = {}
        self._told = time.monotonic()
        self._stuck = time.monotonic()

    @property
    def jobs(self) -> int:
        """How many items are worked on at once."""
        return self._jobs()

    def submit(self, parcel: Parcel, values: Mapping[str, Packed | Nearby]) -> Any:
        """Submit a parcel; the shared values that it needs are Ray objects."""
        del values
        handle = self._cluster.send(parcel, self._packed, self._run)
        self._numbers[handle] = parcel.number
        return handle

    def wait(self, handles: Collection[Any], told: Callable[[int, int], None]) -> Iterable[Any]:
        """The handles that are done, none after a second; progress is reported meanwhile."""
        waiting = list(handles)
        ready: list[Any]
        ready, rest = self._ray.wait(waiting, num_returns=1, timeout=TELL_SECONDS, fetch_local=False)
        if ready and rest:
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            for number, ticks in self._cluster.told(self._run).items():
                told(number, ticks)
        self._require_room(progress=bool(ready))
        return ready

    def _require_room(self, *, progress: bool) -> None:
        if progress or self._cluster.room:
            self._stuck = time.monotonic()
        elif time.monotonic() - self._stuck > _PATIENCE_SECONDS:
            raise StoreError(
                "no host of the cluster has room for an item of work",
                code="no-worker",
                hint="request less memory or fewer cores for each item, or let the cluster start hosts that have enough",
            )

    def answer(self, handle: Any) -> Answer:
        """The answer of a handle that is done."""
        from ray.exceptions import RayError

        number = self._numbers.pop(handle)
        try:
            answer = self._ray.get(handle)
        except RayError as error:
            host = self._cluster.where(self._run, number)
            lines = str(error).strip().splitlines() or [""]
            raise LostWorkerError(f"{type(error).__name__}: {lines[0]}", host) from error
        assert isinstance(answer, Answer)
        return answer

    def cancel(self, handles: Collection[Any]) -> None:
        """Cancel these at once, and wait until they have ended."""
        if not self._ray.is_initialized():
            return
        # by an interrupt first, which closes files in order; killing at once can end the driver too (Ray 2.60)
        left = list(handles)
        for force in (False, True):
            for handle in left:
                self._ray.cancel(handle, force=force)
            left = self._ray.wait(left, num_returns=len(left), timeout=_CANCEL_SECONDS, fetch_local=False)[1]
            if not left:
                return
