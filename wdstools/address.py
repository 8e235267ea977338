"""Addresses, and the only way to print one: without passwords, signatures and tokens.

A URL may hold a secret in three places: before the host (``user:password@``), in its query (``?X-Amz-Signature=``, ``?sig=``,
``?token=``) and after ``#``. ``display`` leaves all three out. It depends only on the text, and applying it twice changes
nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_MARK = "..."
#: A shorter part of a URL is an ordinary word, not a secret.
_LEAST_SECRET = 6
#: A query value of this length or longer is not an ordinary word.
_LONG_VALUE = 20
#: The supported schemes; see ``stores/open.py``.
SCHEMES = ("s3", "gs", "az", "http", "https", "hf")
_MEANT = (*SCHEMES, "gcs", "azure", "abfs", "abfss", "ftp", "ftps", "sftp", "webdav", "webdavs")
#: The beginning of an address: a scheme and its slashes. For the schemes listed above, slashes may be missing or wrong:
#: ``http:/user:password@host`` would be a path, but is surely a mistake.
_SCHEME = (
    r"(?:[A-Za-z][A-Za-z0-9+.-]{0,15}://"
    rf"|(?i:{'|'.join(sorted(_MEANT, key=len, reverse=True))})(?:[ ]?[:;][ ]?|(?=[/\\]{{2}})))[/\\]*[ ]?"
)
_ADDRESS_RE = re.compile(rf"(\s*{_SCHEME})(.*)", re.DOTALL)
#: An address in a text, as people and libraries write it. A password may contain a space.
_URL_RE = re.compile(rf"\b({_SCHEME})((?:[^\s/?#@'\"<>`]{{0,256}}:[^/?#@'\"<>`]{{0,256}}@)?[^\s'\"<>`]*)")
#: A host with or without a port; anything else there is a password that contains a slash.
_HOST_RE = re.compile(r"[^:]*(:[0-9]*)?|\[[0-9A-Fa-f:.%]*\](:[0-9]*)?")
_BEHIND_RE = re.compile(r"([?#]).+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Url:
    """An address that may hold a secret, and does not show it as text. ``secret`` is the full address, for opening it."""

    secret: str = field(repr=False)

    def __str__(self) -> str:
        return display(self.secret)

    def __repr__(self) -> str:
        return f"Url({display(self.secret)!r})"


def display(address: str | os.PathLike[str] | Url) -> str:
    """An address that is safe to show: a path as it is, a URL without its secrets."""
    text = address.secret if isinstance(address, Url) else os.fspath(address)
    found = _ADDRESS_RE.fullmatch(text)
    return found[1] + _open_part(found[2]) if found else text


def is_address(text: str) -> bool:
    """Whether a text is an address, or was meant as one, with too few or too many slashes."""
    return _ADDRESS_RE.match(text) is not None


def without_secrets(text: str) -> str:
    """A text, such as the error of another library, with every URL in it as ``display`` shows it."""
    return _URL_RE.sub(lambda found: found.group(1) + _open_part(found.group(2)), text)


def secrets_of(text: str) -> tuple[str, ...]:
    """The secrets that ``display`` leaves out of the URLs in a text, longest first, for code that must hide them."""
    found = set()
    for match in _URL_RE.finditer(text):
        rest = match.group(2)
        login = _login_of(rest)
        query = _BEHIND_RE.search(rest[len(login) :])
        pieces = [login, login.partition(":")[2]]
        if query:
            values = re.split("[?#&=;]", query.group(0))
            pieces += [query.group(0)[1:], *(value for value in values if len(value) >= _LONG_VALUE)]
        found |= {form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= _LEAST_SECRET}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def _login_of(rest: str) -> str:
    """User and password before a host, without the @."""
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        return host.rpartition("@")[0]
    if "@" in rest and not _HOST_RE.fullmatch(host):
        return rest.rpartition("@")[0]
    return ""


def _open_part(rest: str) -> str:
    """The part of a URL after its scheme, without secrets."""
    login = _login_of(rest)
    return _BEHIND_RE.sub(rf"\1{_MARK}", rest[len(login) + 1 :] if login or rest.startswith("@") else rest)
