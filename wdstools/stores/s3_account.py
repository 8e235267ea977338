"""The S3 account and service: credentials, region and endpoint, as the provider's own library finds them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wdstools.address import display, without_secrets
from wdstools.errors import StoreError, UsageError
from wdstools.stores.bucket_urls import is_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.stores.web import Request

#: Variables that may name an S3 service other than Amazon's; the first one set counts (AWS SDKs and Tools Reference
#: Guide).
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
#: The SHA-256 of nothing, for requests without a body.
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: The header that names the SHA-256 of what is sent.
PAYLOAD_HEADER = "X-Amz-Content-SHA256"


class Account:
    """Credentials (None for anonymous), region and endpoint. botocore is enough; boto3 is not needed."""

    def __init__(self) -> None:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
        from botocore.utils import validate_region_name

        try:
            session = Session()
            self.credentials: Any = session.get_credentials()
            if self.credentials is not None:
                self.keys()
            self.region: str = session.get_config_variable("region") or "us-east-1"
            validate_region_name(self.region)
            ignored = session.get_config_variable("ignore_configured_endpoint_urls")
        except BotoCoreError as error:
            raise _unusable(error) from None
        named = "" if ignored else next((os.environ[name] for name in _ENDPOINT_VARIABLES if os.environ.get(name)), "")
        endpoint = named or self._own_endpoint(session)
        if not is_server(endpoint):
            raise UsageError(
                "not the address of an S3 server",
                code="store-settings",
                where=" or ".join(_ENDPOINT_VARIABLES) if named else "endpoint_url of the AWS profile",
                expected="https://HOST[:PORT]",
                got=display(endpoint),
            )
        self.endpoint = endpoint.rstrip("/")

    def _own_endpoint(self, session: Any) -> str:
        """The provider's own endpoint of this region, or that of the profile, as a client reports it."""
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            client = session.create_client("s3", region_name=self.region, config=Config(signature_version=UNSIGNED))
        except (BotoCoreError, ValueError) as error:  # the latter for an invalid address in a profile
            raise _unusable(error) from None
        return str(client.meta.endpoint_url)

    def keys(self) -> Any:
        """The current access key, secret key and token; raises UsageError (not showing them) if they cannot be sent."""
        keys = self.credentials.get_frozen_credentials()
        for name, text in (("access key", keys.access_key), ("secret key", keys.secret_key), ("token", keys.token)):
            if text and not (text.isascii() and text.isprintable()):
                raise UsageError(
                    f"the {name} has characters that no key has",
                    code="store-settings",
                    where="S3 credentials",
                    hint="look for a line break or a quote at its end",
                )
        return keys

    def sign(self, request: Request) -> Mapping[str, str]:
        """Headers that sign a request (AWS Signature Version 4); none without credentials.

        The body is signed through the digest in its own header, so that it is not read twice.
        """
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        if self.credentials is None:
            return {}
        digest = request.headers.get(PAYLOAD_HEADER, _EMPTY)
        # only host and x-amz headers are signed, as is required; if a proxy changes the length, the digest shows it
        named = {name: value for name, value in request.headers.items() if name.lower().startswith("x-amz-")}
        signed = AWSRequest(request.method, request.url, headers=named)
        try:
            signer = S3SigV4Auth(self.keys(), "s3", self.region)
            signer.payload = lambda _request: digest
            signer.add_auth(signed)
        except BotoCoreError as error:
            raise _unusable(error) from None
        return dict(signed.headers.items())


def _unusable(error: Exception) -> StoreError:
    return StoreError(f"S3 cannot be used: {without_secrets(str(error))}", code="store-settings")
