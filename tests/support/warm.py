"""Commands from a process that has already loaded everything and forks one on each request.

A command on a few images spends most of its time reading numpy, pyarrow, typer and wdstools from disk. Here that
happens only once; every command is still a process of its own, with its own arguments, folder, environment, pipes,
signals and end. test_cold_start checks that modules load by themselves, in whatever order commands need them;
``tests.support.command`` starts cold what needs more than a fork (another locale, limits, preloaded libraries).
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
#: Variables read when a module is loaded or when Python starts: a command for which one differs is started cold.
READ_AT_START = (
    *("PYTHON", "LD_", "DYLD_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "ARROW_", "MALLOC_"),
    *("TYPER_", "_TYPER", "TERMINAL_WIDTH", "FORCE_", "PY_COLORS", "GITHUB_ACTIONS", "NO_COLOR"),
    "_WDSTOOLS_COMPLETE",
)
#: Libraries that commands load sooner or later. One that is missing here only makes them slower.
LIBRARIES = (
    *("typer", "typer.main", "typer.rich_utils", "rich.console", "rich.progress", "rich.table", "rich.panel"),
    *("rich.markdown", "rich.traceback", "rich.columns", "click.shell_completion", "shellingham"),
    *("numpy", "pyarrow", "pyarrow.parquet", "pyarrow.compute", "pyarrow.csv", "pandas", "xxhash", "awscrt.checksums"),
    *("zstandard", "simplejpeg", "PIL.Image", "PIL.ImageOps", "PIL.JpegImagePlugin", "PIL.PngImagePlugin"),
    *("PIL.WebPImagePlugin", "PIL.ImageCms", "numba", "numba.core.dispatcher", "numba.core.caching", "numba.np.ufunc"),
    *("model_signing.signing", "model_signing.verifying", "OpenSSL.crypto"),  # a second of processor time each time
    *("jinja2", "yaml", "obstore", "botocore.session", "botocore.auth", "botocore.awsrequest", "urllib3"),
    *(
        "multiprocessing.connection",
        "multiprocessing.popen_fork",
        "multiprocessing.shared_memory",
        "sqlite3",
        "tarfile",
    ),
    *(
        "http.client",
        "urllib.request",
        "zipfile",
        "tempfile",
        "concurrent.futures",
        "email.utils",
        "ssl",
        "mmap",
        "csv",
    ),
)


class Command:
    """A running command, with as much of ``subprocess.Popen`` as the tests use."""

    def __init__(
        self, pid: int, ends: IO[bytes], pipes: tuple[IO[bytes] | None, IO[bytes] | None, IO[bytes] | None]
    ) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self._ends = ends

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal; raises TimeoutExpired."""
        if self.returncode is None:
            with selectors.DefaultSelector() as ready:
                ready.register(self._ends, selectors.EVENT_READ)
                if not ready.select(timeout):
                    raise subprocess.TimeoutExpired("a command", timeout or 0)
            said = self._ends.read()
            self._ends.close()
            assert said, "the process that starts commands has ended"
            self.returncode = int(said)
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, or None while it is running."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def communicate(self, given: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """All its output, until it and everything it has started have closed their ends."""
        said: dict[str, bytes] = {}
        work = [threading.Thread(target=self._give, args=(given or b"",), daemon=True)]
        pipes = [(name, pipe) for name in ("stdout", "stderr") if (pipe := getattr(self, name)) is not None]
        work += [threading.Thread(target=_take, args=(*named, said), daemon=True) for named in pipes]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(timeout)
            if thread.is_alive():
                raise subprocess.TimeoutExpired("a command", timeout or 0)
        self.wait(timeout)
        return said.get("stdout", b""), said.get("stderr", b"")

    def _give(self, given: bytes) -> None:
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(given)
                self.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, if it is still running."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the command and what it has started, which are one process group."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


def _take(name: str, pipe: IO[bytes], said: dict[str, bytes]) -> None:
    with pipe:
        said[name] = pipe.read()


def environment(**extra: str) -> dict[str, str]:
    """The environment without the user's own settings for the tool or for colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WDSTOOLS_", "FORCE_COLOR"))}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "200", **extra}


def is_possible(env: dict[str, str]) -> bool:
    """Whether a command with this environment may come from a warm process."""
    if sys.platform != "linux":
        return False
    plain = environment()
    names = {name for name in {*env, *plain} if name.startswith(READ_AT_START)}
    return all(env.get(name) == plain.get(name) for name in names)


def start(module: str, arguments: Sequence[str], env: dict[str, str], cwd: Path | None) -> Command:
    """``python -m MODULE ARGUMENTS``, in a process group of its own."""
    return _starter().start(module, [*arguments], env, str(cwd or os.getcwd()))


def end() -> None:
    """End the warm process, if there is one."""
    if _starter.cache_info().currsize:
        _starter().end()
        _starter.cache_clear()


@cache
def _starter() -> _Starter:
    return _Starter()


class _Starter:
    """The warm process, seen from the tests: it ends when they do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line, theirs = socket.socketpair()
        with theirs:
            env = {
                **os.environ,
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}",
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=env,
            )

    def end(self) -> None:
        """Close the connection, which ends the process."""
        self._line.close()
        self._process.wait()

    def start(self, module: str, arguments: list[str], env: dict[str, str], cwd: str) -> Command:
        """Request a command; returns its process id."""
        ends = [os.pipe() for _ in range(4)]
        ours = [ends[0][1], ends[1][0], ends[2][0], ends[3][0]]
        theirs = [ends[0][0], ends[1][1], ends[2][1], ends[3][1]]
        told = json.dumps([module, arguments, env, cwd]).encode()
        try:
            with self._lock:
                socket.send_fds(self._line, [len(told).to_bytes(8, "big")], theirs)
                self._line.sendall(told)
        finally:
            for end in theirs:
                os.close(end)
        stdin, stdout, stderr, status = (os.fdopen(end, "wb" if at == 0 else "rb") for at, end in enumerate(ours))
        pid = status.read(8)
        assert len(pid) == 8, "the process that starts commands has ended"
        return Command(int(pid), cast("IO[bytes]", status), cast("Any", (stdin, stdout, stderr)))


def _serve(line: socket.socket) -> tuple[list[int], list[Any]] | None:
    """Fork a command for every request, and report how each ended. Returns the request in the command's process."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(line, selectors.EVENT_READ)
        ready.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is line:
                    request = _receive(line)
                    if request is None:
                        return None
                    pid = os.fork()
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        for end in (woken, wake, *running.values()):
                            os.close(end)
                        line.close()
                        return request
                    with contextlib.suppress(OSError):  # it does so too: whoever hears of it may signal its group
                        os.setpgid(pid, pid)
                    ends = request[0]
                    os.write(ends[3], b"%08d" % pid)
                    running[pid] = ends.pop()
                    for end in ends:
                        os.close(end)
                else:
                    os.read(woken, 4096)
                    _reap(running)


def _reap(running: dict[int, int]) -> None:
    for pid, status in list(running.items()):
        ended, how = os.waitpid(pid, os.WNOHANG)
        if ended:
            with contextlib.suppress(BrokenPipeError):
                os.write(status, b"%d" % os.waitstatus_to_exitcode(how))
            os.close(status)
            del running[pid]


def _receive(line: socket.socket) -> tuple[list[int], list[Any]] | None:
    """The ends of four pipes, and what to run; None when the tests are gone."""
    size, ends, _, _ = socket.recv_fds(line, 8, 4)
    if not size:
        return None
    told = bytearray()
    while len(told) < int.from_bytes(size, "big"):
        told += line.recv(1 << 20)
    return list(array.array("i", ends)), json.loads(told)


def _become(ends: list[int], request: list[Any]) -> None:
    """Become the requested process, until it ends."""
    module, arguments, env, cwd = request
    os.setpgid(0, 0)
    os.chdir(cwd)
    for number, end in enumerate(ends[:3]):
        os.dup2(end, number)
    for end in ends:
        if end > 2:
            os.close(end)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old, raw = getattr(sys, name), io.FileIO(number, "wb" if number else "rb", closefd=False)
        buffer = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
        new = io.TextIOWrapper(buffer, encoding=old.encoding, errors=old.errors, line_buffering=number == 2)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    os.environ.update(env)
    sys.path[0] = cwd
    sys.argv[1:] = arguments
    if (
        module != "wdstools"
    ):  # a module of the tests: where it is loaded already, running it is a warning, and so an error
        sys.modules.pop(module, None)
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = _code_of(end)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001  as Python does at the end of a program
        traceback.print_exc()
        code = 1
    _end(code)


def _code_of(end: SystemExit) -> int:
    """The exit code that Python makes of a SystemExit."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)  # noqa: T201
    return 1


def _end(code: int) -> NoReturn:
    """End as Python does, but without tearing down modules, which costs more than most commands."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    os._exit(code)


def _main() -> None:
    line = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(line.fileno(), False)
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    for module in pkgutil.walk_packages([str(REPOSITORY / "wdstools")], "wdstools."):
        if not module.name.startswith(("wdstools.peers", "wdstools.__main__")):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    # jemalloc's, which pyarrow starts, is made for forks: wdstools' own workers are forked beside it
    assert len([name for name in names if name != "jemalloc_bg_thd"]) == 1, f"threads do not survive a fork: {names}"
    gc.collect()
    gc.freeze()
    request = _serve(line)
    if request is None:
        os._exit(0)
    _become(*request)


if __name__ == "__main__":
    _main()
