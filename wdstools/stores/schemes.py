"""Which store a URL means, once it is known to be no local path."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools.stores.cloud import Waits
    from wdstools.stores.layers import Patience, Retrying
    from wdstools.stores.remote import RemoteStore

SCHEMES = ("s3", "gs", "az", "http", "https", "hf")


def open_cloud(url: str, *, waits: Waits | None = None, patience: Patience | None = None) -> Retrying:
    """The store at a URL of one of SCHEMES, trying again with ``patience`` what fails for the moment."""
    if importlib.util.find_spec("obstore") is None or importlib.util.find_spec("botocore") is None:
        raise UsageError("storage behind a network needs the cloud extra", code="extra-missing", where=url, hint="pip install 'wdstools[cloud]'")  # fmt: skip
    from wdstools.stores.cloud import Waits
    from wdstools.stores.layers import Retrying

    return Retrying(_open(url, waits or Waits()), patience, url)


def _open(url: str, waits: Waits) -> RemoteStore:
    scheme = url.partition("://")[0]
    if scheme == "s3":
        from wdstools.stores.s3 import open_s3

        return open_s3(url, waits)
    if scheme in ("gs", "az"):
        from wdstools.stores.signed import open_signed

        return open_signed(url, waits)
    if scheme == "hf":
        from wdstools.stores.hf import open_hf

        return open_hf(url, waits)
    from wdstools.stores.http import HttpStore

    return HttpStore(url, waits)
