"""Other people's S3 clients: uploading a folder, downloading one, downloading a file; each as its manual says."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = ("s5cmd", "rclone", "s3transfer")


def upload(name: str, programs: Path, folder: str, bucket: str, prefix: str) -> Sequence[str]:
    """The command that copies a folder to a prefix."""
    if name == "s5cmd":
        return [*_s5cmd(programs), "cp", f"{folder}/", f"s3://{bucket}/{prefix}/"]
    if name == "rclone":
        return [*_rclone(programs), "copy", folder, f"there:{bucket}/{prefix}"]
    return [f"{programs}/python", os.path.abspath(__file__), "upload", folder, bucket, prefix]


def download(name: str, programs: Path, folder: str, bucket: str, prefix: str) -> Sequence[str]:
    """The command that copies a prefix to a folder."""
    if name == "s5cmd":
        return [*_s5cmd(programs), "cp", f"s3://{bucket}/{prefix}/*", f"{folder}/"]
    if name == "rclone":
        return [*_rclone(programs), "copy", f"there:{bucket}/{prefix}", folder]
    return [f"{programs}/python", os.path.abspath(__file__), "download", folder, bucket, prefix]


def fetch(name: str, programs: Path, bucket: str, key: str, path: str) -> Sequence[str]:
    """The command that copies one object to a file."""
    if name == "s5cmd":
        return [*_s5cmd(programs), "cp", f"s3://{bucket}/{key}", path]
    if name == "rclone":
        return [*_rclone(programs), "--retries", "1", "copyto", f"there:{bucket}/{key}", path]
    if name == "aws s3 cp":
        return [f"{programs}/aws", "s3", "cp", "--only-show-errors", f"s3://{bucket}/{key}", path]
    return [f"{programs}/python", os.path.abspath(__file__), name, path, bucket, key]


def _s5cmd(programs: Path) -> list[str]:
    """It does not look at AWS_ENDPOINT_URL."""
    return [f"{programs}/s5cmd", "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "--log", "error"]


def remove(programs: Path, bucket: str, prefix: str) -> Sequence[str]:
    """The command that removes everything below a prefix."""
    return [*_s5cmd(programs), "rm", f"s3://{bucket}/{prefix}/*"]


def _rclone(programs: Path) -> list[str]:
    """With the credentials of the environment; 8 transfers, as the others have at least as many."""
    remote = "env_auth=true,provider=Other,force_path_style=true,no_check_bucket=true"
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    options = {"RCLONE_CONFIG_THERE_TYPE": "s3", "RCLONE_CONFIG_THERE_ENDPOINT": endpoint, "RCLONE_CONFIG": "/dev/null"}
    for pair in remote.split(","):
        key, _, value = pair.partition("=")
        options[f"RCLONE_CONFIG_THERE_{key.upper()}"] = value
    # its S3 client ends at once where this names a bundle it does not know
    return ["env", "-u", "AWS_CA_BUNDLE", *(f"{key}={value}" for key, value in options.items()), f"{programs}/rclone", "--transfers", "8"]  # fmt: skip


def _main(act: str, path: str, bucket: str, key: str) -> None:
    """In the clients' own environment: what boto3 and s3fs do."""
    if act == "s3fs":
        import s3fs  # type: ignore[import-not-found]

        s3fs.S3FileSystem(client_kwargs={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}).get(f"{bucket}/{key}", path)
        return
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, max_pool_connections=40))
    if act == "boto3":
        client.download_file(bucket, key, path)
    elif act == "upload":
        files = [os.path.join(top, name) for top, _, names in os.walk(path) for name in names]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda file: client.upload_file(file, bucket, f"{key}/{os.path.relpath(file, path)}"), files))
    else:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/")
        keys = [found["Key"] for page in pages for found in page["Contents"]]

        def one(name: str) -> None:
            target = os.path.join(path, os.path.relpath(name, key))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            client.download_file(bucket, name, target)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, keys))


if __name__ == "__main__":
    _main(*sys.argv[1:])
