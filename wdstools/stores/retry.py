"""A store that retries transient failures."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable  # noqa: TC003  # a field of a dataclass
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import xxhash

from wdstools.errors import StoreError, TransientError
from wdstools.formats.digest import sha256_hex
from wdstools.log import tell
from wdstools.stores.base import ANYTHING, Body, RemoteStore, Upload
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.base import ObjectInfo, Store

Answer = TypeVar("Answer")
_SELDOM_PASSES = ("too-slow", "not-partial")
#: Progress between two failures that makes the second count as a first one. Less does not: otherwise a server that
#: sends one byte and breaks off each time would be retried for ever.
_HEADWAY_BYTES, _HEADWAY_KEYS = 64 << 10, 1000


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try, and how long to wait in between: doubled each time, half of it random, bounded.

    What was too slow has taken long already, and a server without ranges will not learn them: both are tried
    ``few_attempts`` times. A server's Retry-After is honoured up to ``longest_wait``. ``sleep`` and ``draw`` are for
    tests.
    """

    attempts: int = 6
    few_attempts: int = 2
    first_wait: float = 0.2
    longest_wait: float = 30
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False)
    draw: Callable[[], float] = field(default=random.random, compare=False)

    def wait(self, attempt: int, error: TransientError) -> float:
        """Seconds to wait after an attempt (from 0) that failed."""
        backoff: float = min(self.first_wait * 2**attempt, self.longest_wait) * (0.5 + 0.5 * self.draw())
        return max(backoff, min(error.retry_after or 0.0, self.longest_wait))

    def rest(self, attempt: int, error: TransientError) -> int:
        """Wait after a failed attempt (from 0) and return the number of the next; raises the error after the last."""
        most = min(self.few_attempts, self.attempts) if error.code in _SELDOM_PASSES else self.attempts
        if attempt + 1 >= most:
            raise error
        wait = self.wait(attempt, error)
        tell(
            "stores",
            "asked again",
            where=error.where,
            because=error.message,
            got=error.got,
            wait=f"{wait:.3f}",
            attempt=attempt + 2,
        )
        self.sleep(wait)
        return attempt + 1


class Retrying(Wrapper):
    """A store that retries transient failures; everything it does can safely be done twice.

    If it is unknown whether a put arrived, the second attempt may find the first one's object: with ``only_if`` that
    object is read, and the put has succeeded if it is what was sent. ``reopen`` opens the store again in another
    process.
    """

    def __init__(
        self, store: RemoteStore, patience: Patience | None = None, reopen: Callable[[], Store] | None = None
    ) -> None:
        super().__init__(store)
        self._patience = patience or Patience()
        self._reopen = reopen
        self._tired: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle how to open the store, not its credentials: another process finds those itself."""
        if self._reopen is not None:
            return _call, (self._reopen,)
        return Retrying, (self._store, self._patience)

    def _again(self, work: Callable[[], Answer], *, ranged: bool = False) -> Answer:
        attempt = 0
        while True:
            try:
                found = work()
            except TransientError as error:
                attempt = self._rest(attempt, error)
            else:
                self._tired &= set() if ranged else {"not-partial"}
                return found

    def _rest(self, attempt: int, error: TransientError) -> int:
        """Like ``Patience.rest``, but an error that was final once is final at once, until an answer comes.

        A store has many objects, and each would be tried as often.
        """
        if error.code in self._tired:
            raise error
        try:
            return self._patience.rest(attempt, error)
        except TransientError:
            self._tired |= {error.code}
            raise

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        return self._again(lambda: self._store.head(key))

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``."""
        return self._again(lambda: self._store.get(key, start, length), ranged=bool(start) or length is not None)

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes of one version."""
        return self._again(lambda: self._store.fetch(key, start, length, etag=etag), ranged=True)

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come; a body that breaks off is requested again from there on."""
        ranged = bool(start) or length is not None
        body = self._again(lambda: self._store.open_body(key, start, length, etag=etag), ranged=ranged)
        return replace(body, blocks=self._resumed(key, body))

    def _resumed(self, key: str, body: Body) -> Iterator[memoryview]:
        at, attempt, blocks, began = body.start, 0, body.blocks, body.start
        while True:
            try:
                for block in blocks:
                    at += len(block)
                    yield block
            except TransientError as error:
                attempt = self._rest(0 if at - began >= _HEADWAY_BYTES else attempt, error)
                blocks, began = self._remainder(key, at, body), at
            else:
                return

    def _remainder(self, key: str, at: int, body: Body) -> Iterator[memoryview]:
        """The rest of a body, requested when the first block is needed."""
        if at < body.end:
            yield from self._store.open_body(key, at, body.end - at, etag=body.etag).blocks

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix; a listing that fails is started again, and continues after the last object."""
        last, attempt, more = "", 0, 0
        while True:
            try:
                for found in self._store.list(prefix):
                    if found.key > last:
                        last, more = found.key, more + 1
                        yield found
            except TransientError as error:
                attempt, more = self._rest(0 if more >= _HEADWAY_KEYS else attempt, error), 0
            else:
                return

    def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
        """One level of the keys."""
        return self._again(lambda: super(Retrying, self).level(prefix))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._again(lambda: self._store.delete(key))

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT."""
        return self._put(key, {"sha256": sha256_hex(data)}, lambda: self._store.put_data(key, data, only_if=only_if))

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT."""
        return self._put(key, digests, lambda: self._store.put_file(key, path, digests, only_if=only_if))

    def _put(self, key: str, digests: Mapping[str, str], put: Callable[[], ObjectInfo]) -> ObjectInfo:
        failed = False

        def attempt() -> ObjectInfo:
            nonlocal failed
            try:
                return put()
            except TransientError:
                failed = True
                raise
            except StoreError as error:
                if failed and error.code in ("object-exists", "object-changed") and self._holds(key, digests):
                    return self._store.head(key)
                raise

        return self._again(attempt)

    def _holds(self, key: str, digests: Mapping[str, str]) -> bool:
        """Whether the object is the one that was sent, by reading it; rarely needed."""
        name = "sha256" if "sha256" in digests else "xxh3_128"
        seen: Any = hashlib.sha256() if name == "sha256" else xxhash.xxh3_128()
        for block in self.stream(key):
            seen.update(block)
        return bool(seen.hexdigest() == digests[name])

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The digests that the wrapped store returns."""
        return self._again(lambda: self._store.remote_digests(key))

    def copy(self, source: Store, key: str) -> ObjectInfo:
        """Have the server copy an object from another place."""
        return self._again(lambda: super(Retrying, self).copy(source, key))

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Multipart uploads that were not finished."""
        return self._again(lambda: self._store.unfinished(prefix))

    def abort(self, upload: Upload) -> None:
        """Abort an unfinished upload."""
        self._again(lambda: self._store.abort(upload))


def _call(reopen: Callable[[], Store]) -> Store:
    return reopen()
