"""Opening stores: which one a URL means, and what has to be installed for it."""

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
#: What nothing can be written to; the Hub takes what ``mirror`` commits, and nothing else.
READ_ONLY = ("http", "https", "hf")
#: What the stores of the ``cloud`` extra need; web servers and the Hub need nothing but urllib3.
_NEEDS = {"s3": ("botocore",), "gs": ("obstore",), "az": ("obstore",)}


def open_cloud(url: str, *, waits: Waits | None = None, patience: Patience | None = None) -> Retrying:
    """The store at a URL of one of SCHEMES, trying again with ``patience`` what fails for the moment."""
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

    Remote stores try again what fails for the moment.

    Args:
        address: A path, or a URL that begins with ``s3://``, ``gs://``, ``az://`` (which need the ``cloud`` extra),
            ``http://``, ``https://``, ``hf://datasets/OWNER/NAME`` or ``file://``.

    Returns:
        The store; nothing is read yet.

    Raises:
        UsageError: There is no store for the scheme (``store-unknown``), or the extra is not installed
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
    """Whether a place is a store of objects that a dataset can be built in, or a store that was opened; a folder is not."""
    if not isinstance(where, str | os.PathLike):
        return True
    scheme, separator, _ = os.fspath(where).partition("://")
    return bool(separator) and scheme in BUCKETS


def path_of(url: str) -> str:
    """The path that a ``file://`` URL names, its ``%20`` and the like read (RFC 8089); raises UsageError."""
    path = url.removeprefix("file://")
    if path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    named = unquote(path)
    if not named.startswith("/") or "\0" in named:
        raise UsageError("not the address of a folder here", where=url, expected="file:///FOLDER")
    return named


def remote(store: Store) -> RemoteStore:
    """A store as a RemoteStore: itself if it is one, otherwise (local, memory) with what it lacks done here."""
    from wdstools.stores.plain import PlainRemote

    return store if isinstance(store, RemoteStore) else PlainRemote(store)


def open_remote(url: str | os.PathLike[str] | Url) -> RemoteStore:
    """The RemoteStore at a URL or local path; those behind a network try again (``retry.Retrying``)."""
    return remote(open_store(url))
