"""What Swift asks of memcached, kept in its one proxy process: without it, each request asks for the account and the bucket anew.

Swift's own Python loads this, not ours: it imports nothing of the project.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Application = Callable[[dict[str, Any], Any], Any]


class MemoryCache:
    """As much of Swift's interface to memcached as its proxy uses; values are JSON, as memcached keeps them. Nothing expires."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    def get(self, key: str, **_: object) -> Any:
        """The value, or None."""
        held = self._held.get(key)
        return None if held is None else json.loads(held)

    def set(self, key: str, value: object, **_: object) -> None:
        """Keep a value."""
        self._held[key] = json.dumps(value)

    def delete(self, key: str, **_: object) -> None:
        """Forget a value, if it is there."""
        self._held.pop(key, None)


def filter_factory(_: Mapping[str, str], **__: str) -> Callable[[Application], Application]:
    """What PasteDeploy calls to put the cache before Swift's other parts."""
    cache = MemoryCache()

    def with_cache(application: Application) -> Application:
        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            environ["swift.cache"] = cache
            return application(environ, start_response)

        return answer

    return with_cache
