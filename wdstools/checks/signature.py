"""Signatures of a dataset: bundles over its manifest, each signed as a model of one file, verified by ``model_signing``.

A signature covers one root. It is an anchor: for whoever trusts the key, the root digest is trusted too. The files in
``.wdstools/signatures/`` came with the data and are not trusted: the size of a bundle is limited, the library parses
and checks it, and it must then name a single file whose SHA-256 is the root.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError, option
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, dumps
from wdstools.landing.inside import read_inside
from wdstools.stores.local import LocalStore, read_file, translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wdstools.dataset import Dataset
    from wdstools.stores.base import Store

SIGNATURES = ".wdstools/signatures/"
SUFFIX = ".sigstore.json"
MAX_BUNDLE_BYTES = 1 << 20
MAX_BUNDLES = 64
_MAX_KEY_BYTES = 1 << 20
_MANIFEST = os.path.basename(MANIFEST_PATH)
_PREDICATE = "https://model_signing/signature/v1.0"
_PAYLOAD_TYPE = b"application/vnd.in-toto+json"
#: Reasons why no bundle proves a dataset, the most telling first: only one is reported.
_RANKS = ("signature-other-root", "signature-invalid", "signature-other-key", "signature-missing")
_MESSAGES = {
    "signature-other-root": "this key has signed another dataset or another version of this one",
    "signature-invalid": "a signature is damaged or forged",
    "signature-other-key": "this dataset is signed by another key",
    "signature-missing": "this dataset is not signed",
}
_HINTS = {
    "signature-other-root": "trust nothing here: ask the signer for a signature of this version, or for the version that was signed",
    "signature-invalid": "trust nothing here until the signature is valid: get it again from where the dataset was published",
    "signature-other-key": "check that {asked} names the signer's own; if it does, trust nothing here",
    "signature-missing": f"ask the signer for the file in {SIGNATURES}; if nobody ever signed this dataset, leave out {{asked}}",
}


def require_signing() -> None:
    """Raise UsageError (``extra-missing``) unless the ``sign`` extra is installed."""
    if any(importlib.util.find_spec(name) is None for name in ("model_signing", "OpenSSL")):
        raise UsageError("signatures need the sign extra", code="extra-missing", hint="pip install 'wdstools[sign]'")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; ``fingerprint`` is the SHA-256 of its DER form, ``hint`` its name in a bundle, ``pem`` the key."""

    fingerprint: str
    hint: str
    pem: bytes

    @property
    def path(self) -> str:
        """The path of a signature by this key; it follows from the key, so that no listing is needed."""
        return f"{SIGNATURES}{self.fingerprint[:32]}{SUFFIX}"

    def has_signed(self, payload: bytes, signature: bytes) -> bool:
        """Whether the signature of a DSSE envelope (in-toto) is by this key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = serialization.load_pem_public_key(self.pem)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        kinds = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        signed = b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE, len(payload), payload)
        try:
            key.verify(signature, signed, ec.ECDSA(kinds[key.curve.key_size]))
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return f"SHA256:{self.fingerprint}"


def as_public_key(key: Any) -> PublicKey:
    """The PublicKey for a key of ``cryptography``; raises ValueError for a kind that cannot sign datasets."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        raise ValueError(type(key).__name__)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_bytes(serialization.Encoding.PEM, form)
    return PublicKey(sha256_hex(key.public_bytes(serialization.Encoding.DER, form)), sha256_hex(pem), pem)


def read_public_key(path: str) -> PublicKey:
    """The public key in a PEM file; raises UsageError (``public-key-invalid``) and StoreError."""
    require_signing()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    data = key_bytes(path)
    try:
        return as_public_key(serialization.load_pem_public_key(data))
    except (ValueError, UnsupportedAlgorithm):
        private = b"PRIVATE KEY" in data
        raise UsageError(
            "this is a private key: keep it to yourself" if private else "not a public key that can sign datasets",
            code="public-key-invalid",
            where=path,
            expected="an EC public key of P-256, P-384 or P-521 in PEM",
            hint=f"openssl pkey -in {path} -pubout    writes the public one" if private else "",
        ) from None


def key_bytes(path: str) -> bytes:
    """The bytes of a file with a key, which must be small; raises StoreError."""
    return read_file(path, _MAX_KEY_BYTES)


def signed_by(dataset: Dataset, key: PublicKey) -> Dataset:
    """The dataset, proved by this key's signature; raises IntegrityError with one of four codes if there is none.

    ``signature-missing``: there is no signature. ``signature-other-key``: there are only signatures by other keys.
    ``signature-other-root``: this key signed something else. ``signature-invalid``: a signature claims to be by this
    key, but is not.
    """
    reasons: list[tuple[str, str]] = []
    for where, data in bundles_there(dataset, key.path, reasons):
        reason = _wrong(data, dataset, key)
        if reason is None:
            return replace(dataset, anchored=True, signer=str(key), readers={})
        reasons.append((reason[0], f"{where}: {reason[1]}"))
    raise unsigned(dataset, str(key), reasons, option("public_key"))


def unsigned(dataset: Dataset, by: str, reasons: list[tuple[str, str]], asked: str) -> IntegrityError:
    """The error for a dataset that no bundle proves, with the most telling reason."""
    code = next((code for code in _RANKS if any(code == found for found, _ in reasons)), "signature-missing")
    return IntegrityError(
        _MESSAGES[code],
        code=code,
        where=dataset.metadata.url,
        expected=f"a signature of root {dataset.root} by {by}",
        got=next((text for found, text in reasons if found == code), "none"),
        hint=_HINTS[code].replace("{asked}", asked),
    )


def bundles_there(dataset: Dataset, first: str, reasons: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Each bundle next to the dataset, the one at ``first`` first; unreadable ones are added to ``reasons``."""
    own = dataset.manifest_key == MANIFEST_PATH
    places: list[tuple[Store, Iterable[str]]] = []
    if not own:
        places.append((dataset.metadata, (f"{dataset.manifest_key}{SUFFIX}",)))
    places += [(store, _names(store, first)) for store in _stores(dataset, own=own)]
    for store, names in places:
        for name in names:
            try:
                yield f"{store.url}/{name}", read_inside(store, name, MAX_BUNDLE_BYTES)
            except NotFoundError:
                continue
            except (StoreError, FormatError) as error:
                if error.code in ("path-unsafe", "not-a-file", "answer-too-long") or isinstance(error, FormatError):
                    reasons.append(("signature-invalid", f"{store.url}/{name}: {error.message}"))
                    continue
                raise


def _stores(dataset: Dataset, *, own: bool) -> list[Store]:
    if own and dataset.shards is dataset.metadata:
        return [dataset.metadata]
    return [dataset.metadata, dataset.shards] if own else [dataset.shards]


def _names(store: Store, first: str) -> Iterator[str]:
    if first:
        yield first
    yield from (name for name in signature_paths(store) if name != first)


def signature_paths(store: Store) -> list[str]:
    """The bundles next to a dataset, if the store can list them; at most 64."""
    found: list[str] = []
    if isinstance(store, LocalStore):
        with contextlib.suppress(OSError):
            found = [SIGNATURES + name for name in sorted(os.listdir(store.locate(SIGNATURES)))]
    else:
        try:
            for info in store.list(SIGNATURES):
                found.append(info.key)
                if len(found) > MAX_BUNDLES:
                    break
        except StoreError as error:
            if error.code not in ("store-cannot", "not-found"):
                raise
    return [name for name in found if _is_bundle(name)][:MAX_BUNDLES]


def bundles_of(dataset: Dataset) -> dict[str, bytes]:
    """The bundles that claim to sign this dataset, by path, to be copied along with it; they are not verified.

    A bundle that is a link out of the dataset, not a file, or too large, is not copied.
    """
    found = {}
    names = dict.fromkeys(signature_paths(dataset.metadata))
    if dataset.signer:
        names[f"{SIGNATURES}{dataset.signer.rpartition('SHA256:')[2][:32]}{SUFFIX}"] = None
    for name in names:
        try:
            data = read_inside(dataset.metadata, name, MAX_BUNDLE_BYTES)
            payload = json.loads(base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"], validate=True))
        except (StoreError, FormatError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if signed_root(payload) == dataset.root:
            found[name] = data
    return found


def _is_bundle(path: str) -> bool:
    name = path.removeprefix(SIGNATURES)
    return name.endswith(SUFFIX) and "/" not in name and name.removesuffix(SUFFIX).replace("-", "").isalnum()


def _wrong(data: bytes, dataset: Dataset, key: PublicKey) -> tuple[str, str] | None:
    """Why a bundle does not prove the dataset by this key, as code and text; None if it does."""
    try:
        bundle = json.loads(data)
        material, envelope = bundle["verificationMaterial"], bundle["dsseEnvelope"]
        hint = material["publicKey"]["hint"] if "publicKey" in material else "of a certificate"
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        content = base64.b64decode(envelope["payload"], validate=True)
        payload = json.loads(content)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return "signature-invalid", "not a bundle with a signature by a key"
    if hint != key.hint:
        return "signature-other-key", "by a key whose SHA-256 begins like this name"
    if not key.has_signed(content, signature):
        return "signature-invalid", "the signature does not verify"
    root = signed_root(payload)
    if root != dataset.root:
        what = f"root {root[:64]}" if root else "something that is not the manifest of a dataset"
        return "signature-other-root", f"signed {what}"
    return (
        None
        if _library_agrees(data, dumps(dataset.manifest), key)
        else ("signature-invalid", "model_signing rejects it")
    )


def signed_root(payload: Any) -> str | None:
    """The SHA-256 of the single file that a payload is about; None if there is none."""
    try:
        (resource,), form = payload["predicate"]["resources"], payload["predicate"]["serialization"]
        good = (payload["predicateType"], resource["algorithm"]) == (_PREDICATE, "sha256")
        good = good and (form["method"], form["hash_type"]) == ("files", "sha256")
        return str(resource["digest"]) if good else None
    except (KeyError, TypeError, ValueError):
        return None


def _library_agrees(bundle: bytes, manifest: bytes, key: PublicKey) -> bool:
    """Whether ``model_signing`` itself accepts the bundle, so that none of its own checks is missed."""
    from cryptography.exceptions import InvalidSignature
    from model_signing.verifying import Config

    with temporary_files({"bundle": bundle, "key.pem": key.pem, _MANIFEST: manifest}) as paths:
        made: Any = Config
        try:
            made().use_elliptic_key_verifier(public_key=paths["key.pem"]).verify(paths[_MANIFEST], paths["bundle"])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, InvalidSignature):
            return False
    return True


@contextlib.contextmanager
def temporary_files(files: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Files by name, in a private temporary folder, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="wdstools-signature-") as folder, translated(folder):
        paths = {name: os.path.join(folder, name) for name in files}
        for name, content in files.items():
            with open(paths[name], "xb") as file:
                file.write(content)
        yield paths
