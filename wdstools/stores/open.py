"""Open stores: which one a URL means, and what has to be installed for it."""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from wdstools.address import SCHEMES, Url, is_address
from wdstools.errors import UsageError
from wdstools.stores.base import RemoteStore
from wdstools.stores.folders import refuse_nul

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.options.declare import StrPath
    from wdstools.stores.base import Store
    from wdstools.stores.meter import Waits
    from wdstools.stores.retry import Patience, Retrying

#: Stores of objects that a dataset can be built in.
BUCKETS = ("s3", "gs", "az")
#: Schemes of stores that cannot be written to; the Hub accepts only what ``mirror`` commits.
READ_ONLY = ("http", "https", "hf")
#: Modules that the stores of the ``cloud`` extra need; web servers and the Hub need only urllib3.
_NEEDS = {"s3": ("botocore",), "gs": ("obstore",), "az": ("obstore",)}


def open_cloud(url: str, *, waits: Waits | None = None, patience: Patience | None = None) -> Retrying:
    """The store at a URL of one of SCHEMES; transient failures are retried with ``patience``."""
    from wdstools.stores.meter import Waits
    from wdstools.stores.retry import Retrying

    scheme = url.partition("://")[0]
    if any(importlib.util.find_spec(name) is None for name in _NEEDS.get(scheme, ())):
        raise UsageError(
            f"{scheme}:// needs the cloud extra", code="extra-missing", where=url, hint="pip install 'wdstools[cloud]'"
        )
    return Retrying(_opener(scheme)(url, waits or Waits()), patience, partial(open_store, Url(url)))


def _opener(scheme: str) -> Callable[[str, Waits], RemoteStore]:
    if scheme == "s3":
        from wdstools.stores.s3 import open_s3

        return open_s3
    if scheme == "gs":
        from wdstools.stores.google import open_google

        return open_google
    if scheme == "az":
        from wdstools.stores.azure import open_azure

        return open_azure
    if scheme == "hf":
        from wdstools.stores.hf import open_hf

        return open_hf
    from wdstools.stores.http import HttpStore

    return HttpStore


def open_store(address: StrPath | Url) -> Store:
    """The store at a URL or a local path.

    Remote stores retry transient failures.

    Args:
        address: A path, or a URL that begins with ``s3://``, ``gs://``, ``az://`` (which need the ``cloud`` extra),
            ``http://``, ``https://``, ``hf://datasets/OWNER/NAME`` or ``file://``.

    Returns:
        The store; nothing has been read yet.

    Raises:
        UsageError: No store handles the scheme (``store-unknown``), or the extra is not installed
            (``extra-missing``).
    """
    from wdstools.stores.local import LocalStore

    url = address.secret if isinstance(address, Url) else os.fspath(address)
    refuse_nul(url)
    scheme, separator, _ = url.partition("://")
    if not separator:
        if is_address(url) and not os.path.exists(url):
            raise UsageError(
                "this address is mistyped",
                code="store-unknown",
                where=url,
                expected="two slashes, as https://HOST/FOLDER",
            )
        return LocalStore(url)
    if scheme == "file":
        return LocalStore(path_of(url))
    if scheme in SCHEMES:
        return open_cloud(url)
    raise UsageError(
        "no store for this kind of URL",
        code="store-unknown",
        where=url,
        expected="a local path, " + ", ".join(f"{known}://" for known in SCHEMES),
    )


def is_bucket(where: StrPath | Store) -> bool:
    """Whether a place is an object store that a dataset can be built in, or an open store; not a folder."""
    if not isinstance(where, str | os.PathLike):
        return True
    scheme, separator, _ = os.fspath(where).partition("://")
    return bool(separator) and scheme in BUCKETS


def path_of(url: str) -> str:
    """The path that a ``file://`` URL names, percent-decoded (RFC 8089); raises UsageError."""
    path = url.removeprefix("file://")
    if path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    named = unquote(path)
    if not named.startswith("/") or "\0" in named:
        raise UsageError("not the URL of a local folder", where=url, expected="file:///FOLDER")
    return named


def remote(store: Store) -> RemoteStore:
    """A store as a RemoteStore: itself if it is one; otherwise (local, memory) wrapped, with what it lacks done here."""
    from wdstools.stores.plain import PlainRemote

    return store if isinstance(store, RemoteStore) else PlainRemote(store)


def open_remote(url: str | os.PathLike[str] | Url) -> RemoteStore:
    """The RemoteStore at a URL or local path; network stores retry (``retry.Retrying``)."""
    return remote(open_store(url))
