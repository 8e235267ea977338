"""What a server's refusal means: from HTTP status and error code to the errors that stores raise."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, StoreError, TransientError

if TYPE_CHECKING:
    from datetime import datetime

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
#: Error codes of S3 and Azure that say more than the status: the body received is not the one announced.
_DAMAGED_BODY = ("BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "Md5Mismatch", "IncompleteBody")
#: Error codes of S3 (and Google) and of Azure for a bucket or container that does not exist.
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
#: Azure's error code for a PUT that requires a new key.
_THERE = ("BlobAlreadyExists",)
_DENIED_HINT = "check the credentials (the provider's own: environment, profile, instance role) and the bucket's policy"
_HUB_HINT = "hf auth login    with a token that may read this repository; HF_TOKEN takes precedence"
_CODE_RE = re.compile(r"<Code>(\w+)</Code>")


def answer_error(status: int, body: str, where: str, *, retry_after: float | None = None) -> StoreError:
    """The error for a response with an unexpected status; ``body`` is the beginning of its body."""
    found = _CODE_RE.search(body)
    name = found.group(1) if found else ""
    said = f"{status} {name}".strip()
    if (named := _by_name(name, said, where)) is not None:
        return named
    if status in _TRANSIENT or name in ("RequestTimeout", "SlowDown"):
        return TransientError("the server is unavailable at the moment", where=where, got=said, retry_after=retry_after)
    if status in (404, 410):
        return NotFoundError("nothing is stored here", where=where)
    if status in (401, 403) or name in ("ExpiredToken", "InvalidToken"):
        hint = _HUB_HINT if where.startswith("hf://") else _DENIED_HINT
        return StoreError("access is denied", code="denied", where=where, got=said, hint=hint)
    if status == 412:
        return StoreError("the object is not the expected version", code="object-changed", where=where, got=said)
    if status == 409:
        return TransientError("another process is writing this object", code="object-conflict", where=where, got=said)
    if status == 501:
        return StoreError("the store cannot do this", code="store-cannot", where=where, got=said)
    text = " ".join(body.split())[:200]
    return StoreError("the server refused", code="refused", where=where, got=f"{said} {text}".strip())


def _by_name(name: str, said: str, where: str) -> StoreError | None:
    """The error that the provider's own code stands for, whatever the status."""
    if name in _DAMAGED_BODY:
        return TransientError(
            "the server refused the bytes: they do not match their checksum",
            code="refused-checksum",
            where=where,
            got=said,
        )
    if name == "RequestTimeTooSkewed":
        hint = "set the clock (timedatectl set-ntp true)"
        return StoreError(
            "the server says that this machine's clock is wrong", code="clock-skew", where=where, got=said, hint=hint
        )
    if name in _NO_BUCKET:
        hint = "check its name and the endpoint; create buckets with the provider's own tool"
        return NotFoundError("there is no such bucket", code="bucket-missing", where=where, hint=hint)
    if name in _THERE:
        return StoreError("an object with this key already exists", code="object-exists", where=where)
    return None


def unreachable(reason: str, where: str) -> TransientError:
    """The error for a connection that could not be made, broke, or stalled."""
    return TransientError("the connection failed", code="unreachable", where=where, got=" ".join(reason.split())[:300], hint="check the address and the network; the same command continues where it stopped")  # fmt: skip


def wish(header: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After header (RFC 9110, 10.2.3: seconds or a date); None without a valid one."""
    if not header:
        return None
    if re.fullmatch(r"[0-9]{1,9}", header.strip()):
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
