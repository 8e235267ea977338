"""Who asks S3, and where it is: credentials, region and endpoint as the provider's own library finds them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wdstools.address import display, without_secrets
from wdstools.errors import StoreError, UsageError
from wdstools.stores.bucket_urls import is_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.stores.web import Request

#: Where the environment may name another S3 than Amazon's, the first that does (AWS SDKs and Tools Reference Guide).
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
#: The SHA-256 of nothing, for requests without a body.
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: The header that names the SHA-256 of what is sent.
PAYLOAD_HEADER = "X-Amz-Content-SHA256"


class Account:
    """Credentials (None for nobody's), region, endpoint. The larger boto3 is not needed for it."""

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
                "no address of an S3 server",
                code="store-settings",
                where=" or ".join(_ENDPOINT_VARIABLES) if named else "endpoint_url of the AWS profile",
                expected="https://HOST[:PORT]",
                got=display(endpoint),
            )
        self.endpoint = endpoint.rstrip("/")

    def _own_endpoint(self, session: Any) -> str:
        """The provider's own endpoint of this region, or that of a profile: a client knows it."""
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            client = session.create_client("s3", region_name=self.region, config=Config(signature_version=UNSIGNED))
        except (BotoCoreError, ValueError) as error:  # the latter for an address in a profile that is none
            raise _unusable(error) from None
        return str(client.meta.endpoint_url)

    def keys(self) -> Any:
        """Access key, secret key and token as they are now; raises UsageError, which does not show them, if they cannot be sent."""
        keys = self.credentials.get_frozen_credentials()
        for name, text in (("access key", keys.access_key), ("secret key", keys.secret_key), ("token", keys.token)):
            if text and not (text.isascii() and text.isprintable()):
                raise UsageError(
                    f"the {name} holds characters that no key has",
                    code="store-settings",
                    where="S3 credentials",
                    hint="look for a line end or a quote behind it",
                )
        return keys

    def sign(self, request: Request) -> Mapping[str, str]:
        """Headers that sign a request (AWS Signature Version 4); none for nobody's.

        What is sent is signed by the digest in its own header, so that nothing is read twice.
        """
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        if self.credentials is None:
            return {}
        digest = request.headers.get(PAYLOAD_HEADER, _EMPTY)
        # host and x-amz headers are signed, as is asked for; a length that was changed on the way is then for the digest to see
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
