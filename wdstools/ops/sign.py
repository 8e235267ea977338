"""sign: vouch for a dataset. Its manifest is signed, and with it every byte that its SHA-256 digests cover."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from wdstools.checks.certificate import Certificate, read_certificates
from wdstools.checks.signature import PublicKey, as_public_key, key_bytes, require_signing, signed_by, temporary_files
from wdstools.dataset import as_dataset
from wdstools.errors import StoreError, UsageError, option
from wdstools.formats.manifest import MANIFEST_PATH, dumps
from wdstools.landing.inside import require_here, require_inside
from wdstools.options.declare import settle
from wdstools.options.move import SignChoices
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath


_END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class SignResult:
    """A signature: ``path`` is the bundle, ``signer`` the key's fingerprint, ``root`` what was signed."""

    path: str
    root: str
    signer: str
    name: str
    version: int


def sign(dataset: Dataset | StrPath, **choices: Unpack[SignChoices]) -> SignResult:
    """Sign a dataset: its manifest, as a model of one file, in a bundle that ``model_signing verify`` accepts, too.

    The bundle goes to ``.wdstools/signatures/``, outside the root and the checksum list, one for each key; mirror and pull
    copy it. It is only for this version: a change of the dataset removes it. What is signed is not read: verify the
    dataset before you vouch for it.

    Args:
        dataset: A dataset or its folder.
        **choices: The key, and its certificate if it has one; see ``SignChoices``.

    Returns:
        Where the bundle is, and whose signature it is.

    Raises:
        UsageError: The key cannot be used (``signing-key-invalid``), the certificate is for another key
            (``certificate-invalid``), or the dataset is not in a local folder.
        StoreError: Storage could not be read or written.
    """
    chosen = settle(SignChoices, choices)
    message, hint = (
        "a dataset can only be signed in its folder",
        "sign it there, then mirror it again: the signature is mirrored, too",
    )
    require_here(dataset, message, hint)
    opened = as_dataset(dataset)
    store = opened.metadata
    if not isinstance(store, LocalStore) or opened.manifest_key != MANIFEST_PATH:
        raise UsageError(message, where=store.url, expected=f"a folder here with {MANIFEST_PATH}", hint=hint)
    require_signing()
    if chosen["key"] is None:
        raise UsageError("a signature needs a key", where=option("key"), expected="a file with a private key in PEM")
    data = key_bytes(os.fspath(chosen["key"]))
    secret = chosen["password_file"]
    password = key_bytes(os.fspath(secret)).rstrip(b"\r\n") if secret is not None else None
    half, chain = _public_half(data, password, os.fspath(chosen["key"])), b""
    public: PublicKey | Certificate = half
    if chosen["certificate"] is not None:
        public, chain = _certified(os.fspath(chosen["certificate"]), half.pem, locked=password is not None)
    bundle = _bundle(dumps(opened.manifest), data, password, chain)
    require_inside(store.url, [public.path])
    if store.is_link(public.path):
        raise StoreError(
            "there is a link in the place of the signature", code="path-unsafe", where=store.locate(public.path)
        )
    store.put(public.path, bundle)
    if public is half:
        signed_by(opened, half)  # verify it the way everybody else will
    manifest = opened.manifest
    return SignResult(store.locate(public.path), opened.root, str(public), manifest.name, manifest.version)


def _public_half(data: bytes, password: bytes | None, where: str) -> PublicKey:
    """The public key of a private one; raises UsageError (``signing-key-invalid``)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        return as_public_key(serialization.load_pem_private_key(data, password).public_key())
    except (TypeError, ValueError, UnsupportedAlgorithm):
        locked = b"ENCRYPTED" in data
        raise UsageError(
            "the password is wrong or missing" if locked else "this is not a private key that can sign datasets",
            code="signing-key-invalid",
            where=where,
            expected=f"{option('password_file')} with the key's password"
            if locked
            else "an EC private key of P-256, P-384 or P-521 in PEM",
            hint="" if locked else "openssl ecparam -name prime256v1 -genkey -noout -out key.pem    makes one",
        ) from None


def _certified(path: str, key: bytes, *, locked: bool) -> tuple[Certificate, bytes]:
    """The first certificate of a file, which must be for the key, and all of them; raises UsageError (``certificate-invalid``)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if locked:
        message = (
            f"{option('password_file')} and {option('certificate')} cannot be combined: give the key without a password"
        )
        raise UsageError(message, hint="openssl pkey -in KEY -out plain.pem    removes the password")
    chain, (first, *_) = read_certificates(path, "certificate-invalid")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    named = x509.load_pem_x509_certificate(chain).public_key().public_bytes(serialization.Encoding.PEM, form)
    if named != key:
        raise UsageError(
            "this certificate is for another key",
            code="certificate-invalid",
            where=path,
            expected="the certificate of the key first, then those that lead to an authority",
            got=first.subject,
        )
    return first, chain


def _bundle(manifest: bytes, pem: bytes, password: bytes | None, chain: bytes = b"") -> bytes:
    from model_signing.signing import Config

    name = os.path.basename(MANIFEST_PATH)
    leaf, mark, others = chain.partition(_END)
    leaf += mark + b"\n"
    # the library does not accept an empty chain; repeating the certificate adds nothing to it
    files = {
        name: manifest,
        "key.pem": pem,
        "bundle": b"",
        "leaf.pem": leaf,
        "chain.pem": others if _END in others else leaf,
    }
    with temporary_files(files) as paths:
        # the library passes the password on unchanged, and bytes are needed there
        secret: Any = password
        made: Any = Config
        if chain:
            signer = made().use_certificate_signer(
                private_key=paths["key.pem"],
                signing_certificate=paths["leaf.pem"],
                certificate_chain=[paths["chain.pem"]],
            )
        else:
            signer = made().use_elliptic_key_signer(private_key=paths["key.pem"], password=secret)
        signer.sign(paths[name], paths["bundle"])
        return key_bytes(paths["bundle"])
