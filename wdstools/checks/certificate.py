"""Signatures under a certificate: for whoever trusts the authority that issued it, the root digest is trusted too.

The bundle holds the certificates, and ``model_signing`` checks them up to the authorities that the caller names: never
those of the system, under which anybody with a web site could sign. It requires a certificate that was valid when
issued and that may sign. Whether it has since expired or been revoked is not checked, because all of this works
offline.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wdstools.checks.signature import (
    SIGNATURES,
    SUFFIX,
    bundles_there,
    key_bytes,
    require_signing,
    signed_root,
    temporary_files,
    unsigned,
)
from wdstools.errors import UsageError, option
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, dumps

if TYPE_CHECKING:
    from wdstools.dataset import Dataset

_MANIFEST = os.path.basename(MANIFEST_PATH)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate; ``fingerprint`` is the SHA-256 of its DER form, ``subject`` names its holder."""

    fingerprint: str
    subject: str

    @property
    def path(self) -> str:
        """The path of a signature under this certificate."""
        return f"{SIGNATURES}{self.fingerprint[:32]}{SUFFIX}"

    def __str__(self) -> str:
        return f"of {self.subject}, certificate SHA256:{self.fingerprint}"


def as_certificate(der: bytes) -> Certificate:
    """The certificate in DER bytes; raises ValueError."""
    from cryptography import x509

    return Certificate(sha256_hex(der), x509.load_der_x509_certificate(der).subject.rfc4514_string())


def read_certificates(path: str, code: str) -> tuple[bytes, list[Certificate]]:
    """A PEM file's bytes and its certificates; raises UsageError with ``code``, and StoreError."""
    require_signing()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    data = key_bytes(path)
    try:
        found = x509.load_pem_x509_certificates(data)
        return data, [as_certificate(one.public_bytes(serialization.Encoding.DER)) for one in found]
    except ValueError:
        raise UsageError("not a file of certificates", code=code, where=path, expected="certificates in PEM") from None


def signed_under(dataset: Dataset, authorities: str) -> Dataset:
    """The dataset, proved by a signature under these authorities; raises IntegrityError as ``signed_by`` does."""
    trusted, _ = read_certificates(authorities, "authority-invalid")
    reasons: list[tuple[str, str]] = []
    for where, data in bundles_there(dataset, "", reasons):
        found, reason = _signer_of(data, dataset, trusted)
        if found is not None:
            return replace(dataset, anchored=True, signer=str(found), readers={})
        reasons.append((reason[0], f"{where}: {reason[1]}"))
    raise unsigned(dataset, f"somebody certified by {authorities}", reasons, option("authorities"))


def _signer_of(data: bytes, dataset: Dataset, trusted: bytes) -> tuple[Certificate | None, tuple[str, str]]:
    """Whose signature a bundle is; None, and the reason, if it does not prove this dataset."""
    try:
        bundle = json.loads(data)
        chain = bundle["verificationMaterial"].get("x509CertificateChain")
        if chain is None:
            return None, ("signature-other-key", "signed by a key without a certificate")
        named = as_certificate(base64.b64decode(chain["certificates"][0]["rawBytes"], validate=True))
        payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None, ("signature-invalid", "not a bundle with a signature under a certificate")
    root = signed_root(payload)
    if root != dataset.root:
        return None, (
            "signature-other-root",
            f"signed {f'root {root[:64]}' if root else 'something that is not the manifest of a dataset'}",
        )
    if not _library_agrees(data, dumps(dataset.manifest), trusted):
        return None, ("signature-other-key", f"{named}: these authorities did not issue it, or it may not sign")
    return named, ("", "")


def _library_agrees(bundle: bytes, manifest: bytes, trusted: bytes) -> bool:
    """Whether ``model_signing`` accepts the bundle as a signature of the manifest under these authorities."""
    from cryptography.exceptions import InvalidSignature
    from model_signing.verifying import Config
    from OpenSSL import crypto

    wrong = (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
        InvalidSignature,
        crypto.Error,
    )
    with temporary_files({"bundle": bundle, "ca.pem": trusted, _MANIFEST: manifest}) as paths:
        made: Any = Config
        try:
            made().use_certificate_verifier(certificate_chain=[paths["ca.pem"]]).verify(
                paths[_MANIFEST], paths["bundle"]
            )
        except (*wrong, crypto.X509StoreContextError):
            return False
    return True
