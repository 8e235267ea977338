"""Bundles that prove nothing of a dataset: which are looked at, and what is said of them."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.support.golden_in_memory import Held, golden, golden_files, held, opened
from wdstools.checks.certificate import as_certificate, read_certificates, signed_under
from wdstools.checks.signature import (
    SIGNATURES,
    SUFFIX,
    as_public_key,
    bundles_of,
    bundles_there,
    key_bytes,
    read_public_key,
    signature_paths,
    signed_by,
    signed_root,
)
from wdstools.checks.trust import trusted
from wdstools.errors import IntegrityError, StoreError, UsageError, WdsError
from wdstools.stores.base import ObjectInfo
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = as_public_key(PRIVATE.public_key())
ROOT = golden().root
_HASHES: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}
TYPE = b"application/vnd.in-toto+json"


def _payload(root: str = ROOT, **changed: Any) -> dict[str, Any]:
    resource = {"name": "manifest.json", "algorithm": "sha256", "digest": root}
    form = {"method": "files", "hash_type": "sha256"}
    predicate = {"resources": [resource], "serialization": form}
    return {"predicateType": "https://model_signing/signature/v1.0", "predicate": predicate, **changed}


def _bundle(
    payload: Any = None,
    *,
    hint: str = KEY.hint,
    signature: bytes | None = None,
    chain: bytes = b"",
    key: ec.EllipticCurvePrivateKey = PRIVATE,
    bits: int = 256,
) -> bytes:
    """A bundle as they are written, whatever it is of."""
    content = json.dumps(_payload() if payload is None else payload).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(content), content)
    made = key.sign(signed, ec.ECDSA(_HASHES[bits])) if signature is None else signature
    named: dict[str, Any] = {"publicKey": {"hint": hint}}
    if chain:
        named = {"x509CertificateChain": {"certificates": [{"rawBytes": base64.b64encode(chain).decode()}]}}
    envelope = {"payload": base64.b64encode(content).decode(), "payloadType": TYPE.decode()}
    envelope |= {"signatures": [{"sig": base64.b64encode(made).decode()}]}  # type: ignore[dict-item]
    return json.dumps({"verificationMaterial": named, "dsseEnvelope": envelope}).encode()


def _certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "laboratory")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(name, name, PRIVATE.public_key(), 1, now, now + dt.timedelta(days=9))
    return made.sign(PRIVATE, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CERTIFICATE = _certificate()
A, B = f"{SIGNATURES}a{SUFFIX}", f"{SIGNATURES}b{SUFFIX}"


def _refusal(files: dict[str, bytes], ask: Callable[[Held], object]) -> IntegrityError:
    with pytest.raises(IntegrityError) as refused:
        ask(held(files))
    return refused.value


OTHER = "5" * 64
LONG = _payload("5" * 70)
REASONS: dict[str, tuple[bytes, str, str]] = {
    "another root": (_bundle(_payload(OTHER)), "other-root", f"signed root {OTHER}"),
    "a root that is too long": (_bundle(LONG), "other-root", f"signed root {OTHER}"),
    "no manifest": (_bundle({}), "other-root", "signed something that is not the manifest of a dataset"),
    "another key": (_bundle(hint=OTHER), "other-key", "by a key whose SHA-256 begins like this name"),
    "a certificate": (_bundle(chain=CERTIFICATE), "other-key", "by a key whose SHA-256 begins like this name"),
    "another signature": (_bundle(signature=b"x"), "invalid", "the signature does not verify"),
    "no bundle": (b"{}", "invalid", "not a bundle with a signature by a key"),
    "as large as may be": (b" " * (1 << 20), "invalid", "not a bundle with a signature by a key"),
    "too large": (b" " * ((1 << 20) + 1), "invalid", "a file is too large to be what its name says"),
    "nothing": (b"", "invalid", "not a bundle with a signature by a key"),
}


@pytest.mark.parametrize("what", REASONS)
def test_why_a_bundle_is_no_proof_is_said(what: str) -> None:
    data, code, reason = REASONS[what]
    error = _refusal({A: data}, lambda store: signed_by(opened(store), KEY))
    assert (error.code, error.where) == (f"signature-{code}", "memory:")
    assert error.expected == f"a signature of root {ROOT} by SHA256:{KEY.fingerprint}"
    assert error.got == f"memory:/{A}: {reason}"


UNDER: dict[str, tuple[bytes, str, str]] = {
    "another root": (_bundle(_payload(OTHER), chain=CERTIFICATE), "other-root", f"signed root {OTHER}"),
    "a root that is too long": (_bundle(LONG, chain=CERTIFICATE), "other-root", f"signed root {OTHER}"),
    "no manifest": (
        _bundle({}, chain=CERTIFICATE),
        "other-root",
        "signed something that is not the manifest of a dataset",
    ),
    "a key": (_bundle(), "other-key", "signed by a key without a certificate"),
    "no certificate": (_bundle(chain=b"x"), "invalid", "not a bundle with a signature under a certificate"),
    "no bundle": (b"[]", "invalid", "not a bundle with a signature under a certificate"),
}


@pytest.fixture(name="authorities", scope="module")
def _authorities(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authorities") / "ca.pem"
    path.write_bytes(x509.load_der_x509_certificate(CERTIFICATE).public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.mark.parametrize("what", UNDER)
def test_why_a_bundle_is_no_proof_by_a_certificate_is_said(what: str, authorities: str) -> None:
    data, code, reason = UNDER[what]
    error = _refusal({A: data}, lambda store: signed_under(opened(store), authorities))
    assert (error.code, error.got) == (f"signature-{code}", f"memory:/{A}: {reason}")
    assert error.expected == f"a signature of root {ROOT} by somebody certified by {authorities}"
    assert ("authorities" in error.hint) == (code == "other-key")


def _with_stray(bundle: bytes, name: str) -> bytes:
    """A bundle with a character in one of its texts that is none of base64."""
    return bundle.replace(b'"%s": "' % name.encode(), b'"%s": "!' % name.encode())


def test_base64_is_read_strictly(authorities: str) -> None:
    for name in ("payload", "sig"):
        data = _with_stray(_bundle(), name)
        error = _refusal({A: data}, lambda store: signed_by(opened(store), KEY))
        assert error.got.endswith("not a bundle with a signature by a key")
    for name in ("payload", "rawBytes"):
        data = _with_stray(_bundle(_payload(OTHER), chain=CERTIFICATE), name)
        error = _refusal({A: data}, lambda store: signed_under(opened(store), authorities))
        assert error.got.endswith("not a bundle with a signature under a certificate")
    assert bundles_of(opened(held({A: _with_stray(_bundle(), "payload")}))) == {}


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_a_key_of_every_curve_signs_with_its_own_hash(bits: int) -> None:
    private = ec.generate_private_key({256: ec.SECP256R1(), 384: ec.SECP384R1(), 512: ec.SECP521R1()}[bits])
    key, codes = as_public_key(private.public_key()), []
    for other in _HASHES:
        data = _bundle(_payload(OTHER), hint=key.hint, key=private, bits=other)
        codes.append(_refusal({A: data}, lambda store: signed_by(opened(store), key)).code)
    assert codes == [f"signature-{'other-root' if other == bits else 'invalid'}" for other in _HASHES]


def test_a_certificate_is_called_by_its_digest_and_subject(authorities: str) -> None:
    (read,) = read_certificates(authorities, "x")[1]
    made = as_certificate(CERTIFICATE)
    assert (read, made.subject) == (made, "CN=laboratory")
    assert made.path == f"{SIGNATURES}{made.fingerprint[:32]}{SUFFIX}"
    assert str(made) == f"of CN=laboratory, certificate SHA256:{made.fingerprint}"


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing")
    with pytest.raises(UsageError) as refused:
        read_certificates(str(tmp_path / "x"), "authority-invalid")
    assert (refused.value.code, refused.value.where) == ("authority-invalid", str(tmp_path / "x"))


def test_without_the_extra_nothing_is_read(monkeypatch: pytest.MonkeyPatch, authorities: str) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(UsageError) as refused:
        read_certificates(authorities, "x")
    assert refused.value.code == "extra-missing"


def test_a_key_is_a_small_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(1 << 20))
    assert len(key_bytes(str(tmp_path / "key"))) == 1 << 20
    (tmp_path / "key").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(WdsError):
        key_bytes(str(tmp_path / "key"))


def test_of_several_reasons_the_most_telling_is_said_and_the_first_of_its_kind() -> None:
    order = ["another root", "another signature", "another key"]
    for at, what in enumerate(order):
        files = {f"{SIGNATURES}{9 - n}{SUFFIX}": REASONS[name][0] for n, name in enumerate(order) if n >= at}
        files |= {f"{SIGNATURES}z{SUFFIX}": REASONS[what][0]}
        error = _refusal(files, lambda store: signed_by(opened(store), KEY))
        assert error.got == f"memory:/{SIGNATURES}{9 - at}{SUFFIX}: {REASONS[what][2]}"


def test_whoever_is_asked_for_alone_is_asked(tmp_path: Path, authorities: str) -> None:
    (tmp_path / "key").write_bytes(KEY.pem)
    for key, above, named in ((tmp_path / "key", None, "public_key"), (None, authorities, "authorities")):
        error = _refusal({}, lambda store, k=key, a=above: trusted(opened(store), k, None, a))  # type: ignore[misc]
        assert (error.code, error.got) == ("signature-missing", "none")
        assert error.hint.endswith(f"leave out {named}")


def test_a_version_that_is_older_than_it_may_be_is_refused() -> None:
    version = golden().manifest.version
    assert trusted(golden(), None, version, None) is trusted(golden(), None, None, None) is golden()
    error = _refusal({}, lambda store: trusted(opened(store), None, version + 1, None))
    assert (error.code, error.where, error.expected) == ("older-version", "memory:", f"version {version + 1} or newer")
    assert error.got == f"version {version}, root {ROOT}"


def test_keys_that_sign_no_datasets_are_refused(tmp_path: Path) -> None:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        private = ec.generate_private_key(curve)
        assert as_public_key(private.public_key()).pem == private.public_key().public_bytes(
            serialization.Encoding.PEM, spki
        )
    for other in (ec.generate_private_key(ec.SECP256K1()), ed25519.Ed25519PrivateKey.generate()):
        path = tmp_path / "key"
        path.write_bytes(other.public_key().public_bytes(serialization.Encoding.PEM, spki))
        with pytest.raises(UsageError, match="not a public key that can sign datasets") as refused:
            read_public_key(str(path))
        assert refused.value.hint == ""
    path.write_bytes(
        PRIVATE.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(UsageError, match="this is a private key") as refused:
        read_public_key(str(path))
    assert refused.value.hint == f"openssl pkey -in {path} -pubout    writes the public one"


def _where(store: Held, first: str = "", **apart: Any) -> list[str]:
    found = bundles_there(replace(opened(store), **apart), first, [])
    return [where.removeprefix("memory:/") for where, _ in found]


def test_each_bundle_is_looked_at_once_the_one_that_is_named_after_the_key_first() -> None:
    files = {
        A: b"a",
        B: b"b",
        f"{SIGNATURES}.hidden{SUFFIX}": b"",
        f"{SIGNATURES}d/c{SUFFIX}": b"",
        f"{SIGNATURES}x": b"",
    }
    assert _where(held(files)) == [A, B]
    assert _where(held(files), B) == [B, A]
    assert _where(held(files), f"{SIGNATURES}none{SUFFIX}") == [A, B]
    # with the shards elsewhere, there too; of a manifest elsewhere, only the one beside it
    there = Held({B: b""})
    assert _where(held(files), shards=there) == [A, B, B]
    beside = held({**files, f"x/m.json{SUFFIX}": b""})
    for store, first in ((beside, [f"x/m.json{SUFFIX}"]), (held(files), [])):
        assert _where(store, shards=there, manifest_key="x/m.json") == [*first, B]
        assert _where(store, B, manifest_key="x/m.json") == [*first, B, A]


class _Endless(Held):
    """A store that lists without an end."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """First what is no bundle."""
        yield ObjectInfo(f"{prefix}0", 0)
        for number in itertools.count(1):
            assert number <= 64
            yield ObjectInfo(f"{prefix}{number}{SUFFIX}", 0)


def test_only_so_many_bundles_are_looked_at_and_only_bundles(tmp_path: Path) -> None:
    names = [f"{SIGNATURES}{n:03d}-a{SUFFIX}" for n in range(65)]
    assert signature_paths(Held(dict.fromkeys(names, b""))) == names[:64]
    assert signature_paths(_Endless()) == [f"{SIGNATURES}{n}{SUFFIX}" for n in range(1, 65)]
    disk = LocalStore(str(tmp_path))
    assert signature_paths(disk) == []
    for name in reversed(names):
        disk.put(name, b"")
    assert signature_paths(disk) == names[:64]
    for number in range(65):  # however many other files there are, they hide no bundle
        disk.put(f"{SIGNATURES}{number:03d}", b"")
    assert signature_paths(disk) == names[:64]


class _Unlisted(Held):
    """A store that does not list."""

    code = "store-cannot"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Fails."""
        del prefix
        raise StoreError("no", code=self.code)


def test_a_store_that_cannot_list_has_what_is_asked_for_by_name() -> None:
    store = _Unlisted({KEY.path: b"x"})
    for code in ("store-cannot", "not-found"):
        store.code = code
        assert signature_paths(store) == []
    assert _where(store, KEY.path) == [KEY.path]
    store.code = "denied"
    with pytest.raises(StoreError):
        signature_paths(store)
    # what cannot be read is no reason, and no silence
    with pytest.raises(StoreError, match="not allowed"):
        signed_by(opened(held({A: b""}, {A: StoreError("not allowed", code="denied")})), KEY)


def test_only_bundles_of_this_dataset_go_where_it_goes() -> None:
    ours, other = _bundle(), _bundle(_payload(OTHER))
    files = {A: ours, B: other, f"{SIGNATURES}c{SUFFIX}": b"?", f"{SIGNATURES}d{SUFFIX}": b"[" * 100_000}
    assert bundles_of(opened(held(files))) == {A: ours}
    # of a store that does not list, that of whoever signed it
    unlisted = _Unlisted({**golden_files(), KEY.path: ours})
    assert bundles_of(opened(unlisted)) == {}
    assert bundles_of(opened(unlisted, signer=str(KEY))) == {KEY.path: ours}
    made = as_certificate(CERTIFICATE)
    unlisted.put(made.path, ours)
    assert bundles_of(opened(unlisted, signer=str(made))) == {made.path: ours}


def test_a_payload_is_of_one_file_and_of_the_kind_that_is_known() -> None:
    assert signed_root(_payload()) == ROOT
    (resource,) = _payload()["predicate"]["resources"]
    form = _payload()["predicate"]["serialization"]
    kinds: list[Any] = [
        None,
        [],
        {},
        _payload(predicateType="other"),
        _payload(predicate={"resources": [resource] * 2, "serialization": form}),
        _payload(predicate={"resources": [], "serialization": form}),
        _payload(predicate={"resources": [{**resource, "algorithm": "md5"}], "serialization": form}),
        _payload(predicate={"resources": [resource], "serialization": {**form, "method": "shards"}}),
        _payload(predicate={"resources": [resource], "serialization": {**form, "hash_type": "md5"}}),
    ]
    assert [signed_root(odd) for odd in kinds] == [None] * len(kinds)
