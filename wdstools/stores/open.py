"""Which store a URL means."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools.stores.base import Store
    from wdstools.stores.cloud import Waits
    from wdstools.stores.remote import RemoteStore
    from wdstools.stores.retry import Patience, Retrying

SCHEMES = ("s3", "gs", "az", "http", "https", "hf")


def open_cloud(url: str, *, waits: Waits | None = None, patience: Patience | None = None) -> Retrying:
    """The store at a URL of one of SCHEMES, trying again with ``patience`` what fails for the moment."""
    if importlib.util.find_spec("obstore") is None or importlib.util.find_spec("botocore") is None:
        raise UsageError("storage behind a network needs the cloud extra", code="extra-missing", where=url, hint="pip install 'wdstools[cloud]'")  # fmt: skip
    from wdstools.stores.cloud import Waits
    from wdstools.stores.retry import Retrying

    return Retrying(_open(url, waits or Waits()), patience, url)


def _open(url: str, waits: Waits) -> RemoteStore:
    scheme = url.partition("://")[0]
    if scheme == "s3":
        from wdstools.stores.s3 import open_s3

        return open_s3(url, waits)
    if scheme in ("gs", "az"):
        from wdstools.stores.gcs_azure import open_signed

        return open_signed(url, waits)
    if scheme == "hf":
        from wdstools.stores.hf import open_hf

        return open_hf(url, waits)
    from wdstools.stores.http import HttpStore

    return HttpStore(url, waits)


def open_store(url: str) -> Store:
    """The store at a URL or a local path.

    Knows ``s3://``, ``gs://``, ``az://``, ``http://``, ``https://``, ``hf://datasets/OWNER/NAME`` and ``file://``; all but
    the last try again what fails for the moment (``layers.Retrying``), and need the ``cloud`` extra. Raises UsageError
    for another scheme (``store-unknown``) and without the extra (``extra-missing``).
    """
    from wdstools.stores.local import LocalStore

    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStore(url)
    if scheme == "file":
        return LocalStore(rest)
    if scheme in SCHEMES:
        return open_cloud(url)
    raise UsageError(
        "no store for this kind of URL",
        code="store-unknown",
        where=url,
        expected="a local path, " + ", ".join(f"{known}://" for known in SCHEMES),
    )
