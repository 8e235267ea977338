"""A store that refuses to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.stores.base import ANYTHING
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.stores.base import ObjectInfo, Upload


class ReadOnly(Wrapper):
    """A store that refuses to be changed."""

    def delete(self, key: str) -> None:
        """Refused."""
        raise self._refusal(key)

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del data, only_if
        raise self._refusal(key)

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del path, digests, only_if
        raise self._refusal(key)

    def abort(self, upload: Upload) -> None:
        """Refused."""
        raise self._refusal(upload.key)

    def put_wrong(self, key: str) -> bool:
        """Refused."""
        raise self._refusal(key)

    def _refusal(self, key: str) -> StoreError:
        return StoreError("this store was opened read-only", code="read-only", where=f"{self.url}/{key}")
