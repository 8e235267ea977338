"""S3 and what speaks it: opened with the endpoint, region and credentials that botocore finds, digests read by it."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wdstools.errors import StoreError, UsageError
from wdstools.stores.cloud import CloudStore, Waits, parts_of
from wdstools.stores.http import HttpStore, Web, host_of
from wdstools.stores.http_status import answer_error, unreachable
from wdstools.stores.remote import ABSENT, Upload, etag_md5

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Where the environment may name another S3 than Amazon's, the first that does (AWS SDKs and Tools Reference Guide).
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_HOST_RE = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]*[a-z][a-z0-9_-]*\.?")
_ASKED_AGAIN = timedelta(minutes=10)
_UNSIGNED_HINT = "no credentials were found, so requests are not signed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
#: The checksums of HeadObject that may be of the whole object, and the names they have here.
_CHECKSUMS = {
    "ChecksumSHA256": "sha256",
    "ChecksumCRC64NVME": "crc64nvme",
    "ChecksumCRC32C": "crc32c",
    "ChecksumCRC32": "crc32",
    "ChecksumSHA1": "sha1",
}


def open_s3(url: str, waits: Waits) -> CloudStore:
    """The store at ``s3://BUCKET/PREFIX``. Without credentials requests are not signed, as public buckets want it."""
    from obstore.store import S3Store

    bucket, prefix = parts_of(url)
    account = Account(waits)
    options: dict[str, Any] = {"skip_signature": True}
    if account.credentials is not None:
        options = {"credential_provider": lambda: _current(account)}
    raw = S3Store(
        bucket,
        endpoint=account.endpoint,
        region=account.region,
        virtual_hosted_style_request=False,
        checksum_algorithm="SHA256",
        client_options=waits.client_options,
        retry_config={"max_retries": 0},
        **options,
    )
    hint = "" if account.credentials is not None else _UNSIGNED_HINT
    provider = S3Provider(account, bucket, url)
    web = Web(waits, account.signature)
    large = HttpStore(f"{account.endpoint.rstrip('/')}/{bucket}", waits, web=web, shown=f"s3://{bucket}")
    return CloudStore(url, raw, prefix, provider, large=large, refused_hint=hint)


class Account:
    """What the provider's own library finds of a user: credentials (None for nobody's), region, endpoint.

    The larger boto3 is not needed for it. A client is made when it is first needed: for that the library reads the
    descriptions of all that S3 can do, which takes longer than many a command.
    """

    def __init__(self, waits: Waits) -> None:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
        from botocore.utils import validate_region_name

        self._waits = waits
        self._client: Any = None
        self._making = threading.Lock()
        try:
            self._session = Session()
            self.credentials: Any = self._session.get_credentials()
            if self.credentials is not None:
                self.keys()
            self.region: str = self._session.get_config_variable("region") or "us-east-1"
            validate_region_name(self.region)
            ignored = self._session.get_config_variable("ignore_configured_endpoint_urls")
        except BotoCoreError as error:
            raise _unusable(error) from error
        named = "" if ignored else next((os.environ[name] for name in _ENDPOINT_VARIABLES if os.environ.get(name)), "")
        if named and not _is_address(named):
            raise UsageError("no address of an S3 server", code="store-settings", where=" or ".join(_ENDPOINT_VARIABLES), expected="https://HOST[:PORT]", got=named)  # fmt: skip
        self.endpoint: str = named or self.client.meta.endpoint_url

    def keys(self) -> Any:
        """Access key, secret key and token as they are now; raises UsageError, which does not show them, if they cannot be sent."""
        keys = self.credentials.get_frozen_credentials()
        for name, text in (("access key", keys.access_key), ("secret key", keys.secret_key), ("token", keys.token)):
            if text and not (text.isascii() and text.isprintable()):
                raise UsageError(f"the {name} holds characters that no key has", code="store-settings", where="S3 credentials", hint="look for a line end or a quote behind it")  # fmt: skip
        return keys

    @property
    def client(self) -> Any:
        """A client of S3; threads may share it."""
        with self._making:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def signature(self, method: str, url: str) -> dict[str, str]:
        """Headers that sign a request without a body (AWS Signature Version 4); none for nobody's."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        if self.credentials is None:
            return {}
        request = AWSRequest(method, url)
        try:
            S3SigV4Auth(self.keys(), "s3", self.region).add_auth(request)
        except BotoCoreError as error:
            raise _unusable(error) from error
        return dict(request.headers)

    def _make_client(self) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config: dict[str, Any] = {} if self.credentials is not None else {"signature_version": UNSIGNED}
        config |= {"connect_timeout": self._waits.connect, "read_timeout": self._waits.stall}
        # checksums are ours to send and to compare: the library's would be of parts, or of nobody's asking
        config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        config |= {"retries": {"total_max_attempts": 1}, "max_pool_connections": 32}
        try:
            return self._session.create_client("s3", region_name=self.region, config=Config(**config))
        except (BotoCoreError, ValueError) as error:  # the latter for an address in a profile that is none
            raise _unusable(error) from error


def _is_address(text: str) -> bool:
    """Whether a text is the address of a server: not all that is none is refused by the libraries, which then end badly."""
    host = host_of(text)
    if not host or not text.isascii() or not text.isprintable() or " " in text or "@" in text:
        return False
    parts = urlsplit(text)
    # scheme, host, port and path, and nothing behind; a host in brackets is a number
    whole = parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}{parts.path}" == text
    return whole and (_is_number(host) or ("[" not in text and bool(_HOST_RE.fullmatch(host))))


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unusable(error: Exception) -> StoreError:
    return StoreError(f"S3 cannot be used: {error}", code="store-settings")


def _current(account: Account) -> Any:
    """Credentials as obstore takes them; it asks again after a while, and the library renews those that expire."""
    keys = account.keys()
    return {
        "access_key_id": keys.access_key,
        "secret_access_key": keys.secret_key,
        "token": keys.token,
        "expires_at": datetime.now(UTC) + _ASKED_AGAIN,
    }


class S3Provider:
    """What S3 says of its objects (HeadObject with ChecksumMode)."""

    def __init__(self, account: Account, bucket: str, url: str) -> None:
        self._account = account
        self._bucket = bucket
        self._url = url

    @property
    def _client(self) -> Any:
        return self._account.client

    def digests(self, key: str) -> Mapping[str, str]:
        """Checksums of the whole object, and its ETag where that is an MD5 (one PUT, no KMS and no customer key)."""
        with self._translated(key):
            return whole_digests(self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"))

    def put_large(self, key: str, path: str, digests: Mapping[str, str], only_if: str) -> str:
        """One PUT as a stream, with the SHA-256 that the server is to find."""
        extra = {} if not only_if else {"IfNoneMatch": "*"} if only_if == ABSENT else {"IfMatch": only_if}
        checksum = base64.b64encode(bytes.fromhex(digests["sha256"])).decode()
        with self._translated(key), open(path, "rb") as file:
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=file, ChecksumSHA256=checksum, **extra)
        return str(answer.get("ETag", ""))

    def unfinished(self, prefix: str) -> list[Upload]:
        """Multipart uploads that were not finished."""
        with self._translated(prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix)
            found = [upload for page in pages for upload in page.get("Uploads", ())]
        return sorted(
            (Upload(found["Key"], found["UploadId"], found["Initiated"].isoformat()) for found in found),
            key=lambda upload: (upload.key, upload.started),
        )

    def abort(self, upload: Upload) -> None:
        """Give one up."""
        with self._translated(upload.key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload.key, UploadId=upload.id)

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under another text's SHA-256."""
        checksum = base64.b64encode(bytes(32)).decode()
        try:
            with self._translated(key):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=b"not these bytes", ChecksumSHA256=checksum)
        except StoreError as error:
            if error.got.startswith("400"):
                return True
            raise
        return False

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self._url.partition('://')[0]}://{self._bucket}/{key}"
        try:
            yield
        except ClientError as error:
            answer = error.response
            status = answer["ResponseMetadata"].get("HTTPStatusCode", 0)
            name = answer.get("Error", {}).get("Code", "")
            raise answer_error(status, f"<Code>{name}</Code>", where) from error
        except BotoCoreError as error:
            raise unreachable(str(error), where) from error


def whole_digests(answer: Mapping[str, Any]) -> dict[str, str]:
    """The digests in a HeadObject answer that are of the whole object.

    A composite checksum (``...-3``) is one of the parts' checksums and says nothing without knowing the parts.
    """
    found = {}
    if answer.get("ChecksumType") != "COMPOSITE":
        for field, name in _CHECKSUMS.items():
            value = answer.get(field, "")
            if value and "-" not in value:
                found[name] = base64.b64decode(value).hex()
    md5 = etag_md5(answer.get("ETag", ""))
    encrypted = answer.get("SSECustomerAlgorithm") or str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    if md5 and not encrypted:
        found["md5"] = md5
    return found
