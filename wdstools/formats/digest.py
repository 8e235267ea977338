"""Digests of bytes: what each is for, and how a shard gets all of them in one pass.

xxh3 and the CRCs find accidents at memory speed; sha256 is what tools, hubs and signatures use, and what withstands
forgery. All digests are written as lower-case hexadecimal, most significant digit first.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from xxhash import xxh3_64, xxh3_64_hexdigest, xxh3_64_intdigest, xxh3_128, xxh3_128_digest, xxh3_128_hexdigest

from wdstools.errors import UsageError, option

__all__ = [
    "DIGEST_HEX_DIGITS",
    "ShardDigester",
    "ShardDigests",
    "parse_root",
    "sha256_digest",
    "sha256_hex",
    "xxh3_64",
    "xxh3_64_hexdigest",
    "xxh3_64_intdigest",
    "xxh3_128",
    "xxh3_128_digest",
    "xxh3_128_hexdigest",
]

#: The number of digits of each digest in a manifest; a digest of another length is refused.
DIGEST_HEX_DIGITS = {"sha256": 64, "xxh3_128": 32, "crc32c": 8, "crc64nvme": 16}


def parse_root(text: str) -> str:
    """A root digest given by the user, in lower case; raises UsageError for anything else, including an empty text."""
    root = text.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", root):
        raise UsageError(
            "not a root digest", where=option("root"), expected="64 hexadecimal digits", got=text or "nothing"
        )
    return root


@dataclass(frozen=True, slots=True)
class ShardDigests:
    """The size and the four digests of one file."""

    bytes: int
    sha256: str
    xxh3_128: str
    crc32c: str
    crc64nvme: str


class ShardDigester:
    """Computes size, sha256, xxh3_128, crc32c and crc64nvme of a stream of blocks in one pass.

    sha256: FIPS 180-4. xxh3_128: XXH3 of xxHash 0.8, seed 0. crc32c: RFC 3720 (Castagnoli), as Google Cloud
    Storage reports it. crc64nvme: NVM Express 64-bit CRC, as Amazon S3 reports it.
    """

    def __init__(self) -> None:
        from awscrt import checksums

        self._crc32c = checksums.crc32c
        self._crc64nvme = checksums.crc64nvme
        self._bytes = 0
        self._sha256 = hashlib.sha256()
        self._xxh3 = xxh3_128()
        self._crcs = (0, 0)

    def update(self, block: memoryview | bytes) -> None:
        """Add the next bytes."""
        self._sha256.update(block)
        self._xxh3.update(block)
        self._crcs = (self._crc32c(block, self._crcs[0]), self._crc64nvme(block, self._crcs[1]))
        self._bytes += len(block)

    def digests(self) -> ShardDigests:
        """The digests of everything so far."""
        return ShardDigests(
            bytes=self._bytes,
            sha256=self._sha256.hexdigest(),
            xxh3_128=self._xxh3.hexdigest(),
            crc32c=f"{self._crcs[0]:08x}",
            crc64nvme=f"{self._crcs[1]:016x}",
        )


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_digest(data: bytes | memoryview) -> bytes:
    """SHA-256 of ``data`` as 32 bytes."""
    return hashlib.sha256(data).digest()
