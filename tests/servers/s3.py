"""What tests need to know of a server that speaks S3."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count
from typing import Any

_NUMBERS = count()


@dataclass(frozen=True)
class S3Server:
    """Where it is and who may use it; path-style addressing."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def env(self) -> dict[str, str]:
        """The environment in which every S3 client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def client(self) -> Any:
        """A boto3 client, for looking behind the code under test."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def new_bucket(self) -> str:
        """The name of a bucket with nothing in it, made now."""
        name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"  # processes forked from one may share a server
        self.client().create_bucket(Bucket=name)
        return name

    def at(self, endpoint: str) -> S3Server:
        """The same server seen through another address, as a proxy's."""
        return S3Server(endpoint, self.access_key, self.secret_key)
