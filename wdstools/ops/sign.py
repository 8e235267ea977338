"""sign: say who stands for a dataset. Its manifest is signed, and so is every byte that SHA-256 leads to from there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from wdstools.checks.signature import as_public_key, key_bytes, require_signing, signed_by, temporary_files
from wdstools.dataset import as_dataset
from wdstools.errors import StoreError, UsageError, option
from wdstools.formats.manifest import MANIFEST_PATH, dumps
from wdstools.landing.inside import require_here, require_inside
from wdstools.options.declare import settle
from wdstools.options.move import SignChoices
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from wdstools.checks.signature import PublicKey
    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath


@dataclass(frozen=True, slots=True)
class SignResult:
    """A signature that was made: ``path`` is the bundle, ``signer`` the key's fingerprint, ``root`` what it signed."""

    path: str
    root: str
    signer: str
    name: str
    version: int


def sign(dataset: Dataset | StrPath, **choices: Unpack[SignChoices]) -> SignResult:
    """Sign a dataset: its manifest file, as a model of one file, in a bundle that ``model_signing verify`` accepts too.

    The bundle lies in ``.wdstools/signatures/``, outside the root and the checksum list, one for each key; a mirror takes it
    along and a pull brings it. It is of this version alone: a change of the dataset removes it. What is signed is not
    read: verify the dataset before you stand for it.

    Args:
        dataset: A dataset or its folder.
        **choices: The key; see ``SignChoices``.

    Returns:
        Where the bundle lies, and whose signature it is.

    Raises:
        UsageError: There is no such key (``signing-key-invalid``), or the dataset lies elsewhere than in a folder here.
        StoreError: Storage could not be read or written.
    """
    chosen = settle(SignChoices, choices)
    message, hint = "a dataset is signed in its folder", "sign it there, and mirror it again: the signature goes along"
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
    public = _public_half(data, password, os.fspath(chosen["key"]))
    bundle = _bundle(dumps(opened.manifest), data, password)
    require_inside(store.url, [public.path])
    if store.is_link(public.path):
        raise StoreError("a link lies where the signature goes", code="path-unsafe", where=store.locate(public.path))
    store.put(public.path, bundle)
    signed_by(opened, public)  # as everybody else will find it
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
            "the password is not the key's, or none was given" if locked else "not a private key that signs datasets",
            code="signing-key-invalid",
            where=where,
            expected=f"{option('password_file')} with the key's password"
            if locked
            else "an EC private key of P-256, P-384 or P-521 in PEM",
            hint="" if locked else "openssl ecparam -name prime256v1 -genkey -noout -out key.pem    makes one",
        ) from None


def _bundle(manifest: bytes, pem: bytes, password: bytes | None) -> bytes:
    from model_signing.signing import Config

    name = os.path.basename(MANIFEST_PATH)
    with temporary_files({name: manifest, "key.pem": pem, "bundle": b""}) as paths:
        # the library hands the password on as it is, and bytes are what is wanted there
        secret: Any = password
        made: Any = Config
        made().use_elliptic_key_signer(private_key=paths["key.pem"], password=secret).sign(paths[name], paths["bundle"])
        return key_bytes(paths["bundle"])
