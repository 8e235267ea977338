"""S3 and what speaks it: opened with the endpoint, region and credentials that botocore finds, digests read by it."""

from __future__ import annotations

import base64
import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wdstools.errors import StoreError, UsageError
from wdstools.stores.answers import answer_error, unreachable
from wdstools.stores.cloud import CloudStore, Waits
from wdstools.stores.remote import ABSENT, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ASKED_AGAIN = timedelta(minutes=10)
_UNSIGNED_HINT = "no credentials were found, so requests are not signed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_MD5_RE = re.compile(r'"?([0-9a-f]{32})"?')
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

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise UsageError("no bucket in this URL", where=url, expected="s3://BUCKET/PREFIX")
    client, credentials = _open_client(waits)
    options: dict[str, Any] = {"skip_signature": True}
    if credentials is not None:
        options = {"credential_provider": lambda: _current(credentials)}
    raw = S3Store(
        bucket,
        endpoint=client.meta.endpoint_url,
        region=client.meta.region_name,
        virtual_hosted_style_request=False,
        checksum_algorithm="SHA256",
        client_options=waits.client_options,
        retry_config={"max_retries": 0},
        **options,
    )
    hint = "" if credentials is not None else _UNSIGNED_HINT
    return CloudStore(url, raw, prefix, S3Provider(client, bucket, url), refused_hint=hint)


def _open_client(waits: Waits) -> tuple[Any, Any]:
    """A client of the provider's own library, and the credentials it found; the larger boto3 is not needed for it."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session()
        credentials = session.get_credentials()
        config: dict[str, Any] = {} if credentials is not None else {"signature_version": UNSIGNED}
        config |= {"connect_timeout": waits.connect, "read_timeout": waits.stall, "retries": {"total_max_attempts": 1}}
        # checksums are ours to send and to compare: the library's would be of parts, or of nobody's asking
        config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        region = session.get_config_variable("region") or "us-east-1"
        client = session.create_client("s3", region_name=region, config=Config(**config, max_pool_connections=32))
    except BotoCoreError as error:
        raise StoreError(f"S3 cannot be used: {error}", code="store-settings") from error
    return client, credentials


def _current(credentials: Any) -> Any:
    """Credentials as obstore takes them; it asks again after a while, and the library renews those that expire."""
    frozen = credentials.get_frozen_credentials()
    return {
        "access_key_id": frozen.access_key,
        "secret_access_key": frozen.secret_key,
        "token": frozen.token,
        "expires_at": datetime.now(UTC) + _ASKED_AGAIN,
    }


class S3Provider:
    """What S3 says of its objects (HeadObject with ChecksumMode)."""

    def __init__(self, client: Any, bucket: str, url: str) -> None:
        self._client = client
        self._bucket = bucket
        self._url = url

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
    etag = _MD5_RE.fullmatch(answer.get("ETag", ""))
    encrypted = answer.get("SSECustomerAlgorithm") or str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    if etag and not encrypted:
        found["md5"] = etag.group(1)
    return found
