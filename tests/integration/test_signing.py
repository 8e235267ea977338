"""``sign``, and ``--public-key``: whose dataset it is; anything else is refused with a code of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.command import REPOSITORY, assert_clean_failure, environment, run_command
from tests.support.damaged_dataset import make_dataset
from wdstools.checks.signature import MAX_BUNDLE_BYTES, SIGNATURES, read_public_key, signed_by
from wdstools.dataset import open_dataset
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sums import SUMS_PATH

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two key pairs, a dataset that the first key has signed, and one that nobody has."""
    folder = tmp_path_factory.mktemp("signing")
    for name in ("ours", "theirs"):
        _make_key(folder / f"{name}.pem", folder / f"{name}.pub")
    made = make_dataset(folder / "made")
    shutil.copytree(made, folder / "unsigned")
    made.rename(folder / "signed")
    assert run_command("sign", folder / "signed", "--key", folder / "ours.pem").code == 0
    return folder


def _make_key(private: Path, public: Path, *more: str) -> None:
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", *more, "-out", private],
        check=True,
        capture_output=True,
    )
    password = [part for part in more if part.startswith("pass:")]
    secret = ["-passin", *password] if password else []
    subprocess.run(
        ["openssl", "pkey", "-in", private, *secret, "-pubout", "-out", public], check=True, capture_output=True
    )


def _bundle(dataset: Path) -> Path:
    (path,) = (dataset / SIGNATURES).iterdir()
    return path


def _refusal(dataset: Path, public: Path) -> str:
    ran = run_command("verify", dataset, "--public-key", public, "--json")
    assert_clean_failure(ran, 1)
    return str(ran.error["code"])


def test_what_the_key_signed_is_proved_against_forgers(place: Path) -> None:
    ran = run_command("verify", place / "signed", "--public-key", place / "ours.pub", "--json")
    assert (ran.code, ran.err, ran.summary["proved"]) == (0, "", "forger")
    fingerprint = read_public_key(str(place / "ours.pub"))
    assert ran.summary["signer"] == str(fingerprint)
    text = run_command("verify", place / "signed", "--public-key", place / "ours.pub")
    assert str(fingerprint) in text.out
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", place / "ours.pub", "-outform", "der"], check=True, capture_output=True
    )
    assert fingerprint.fingerprint == hashlib.sha256(der.stdout).hexdigest()
    plain = run_command("verify", place / "signed", "--json")
    assert (plain.code, plain.summary["proved"]) == (0, "accident"), "a signature that nobody asked for proves nothing"


def test_model_signing_alone_accepts_the_bundle(place: Path, tmp_path: Path) -> None:
    manifest = place / "signed" / MANIFEST_PATH
    elsewhere = shutil.copy(manifest, tmp_path / "city.json")
    command = [sys.executable, "-m", "model_signing", "verify", "key", "--signature", str(_bundle(place / "signed"))]
    for path in (manifest, elsewhere):
        ran = subprocess.run(
            [*command, "--public_key", str(place / "ours.pub"), str(path)], capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    (tmp_path / "city.json").write_bytes(manifest.read_bytes().replace(b'"seed":0', b'"seed":1'))
    wrong = subprocess.run(
        [*command, "--public_key", str(place / "ours.pub"), str(elsewhere)], capture_output=True, check=False
    )
    assert wrong.returncode != 0


@pytest.mark.parametrize("flag", ["sign --key", "sign --password-file", "verify --public-key"])
def test_a_pipe_that_never_begins_is_not_waited_for(flag: str, place: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command, option = flag.split()
    key = ("--key", place / "ours.pem") if option == "--password-file" else ()
    ran = run_command(command, place / "signed", *key, option, tmp_path / "pipe", "--json", hang_seconds=100)
    assert_clean_failure(ran, 4)
    assert (ran.error["where"], ran.error["got"]) == (str(tmp_path / "pipe"), "a pipe")


def test_a_key_may_come_from_a_shell_that_has_it(place: Path) -> None:
    line = 'exec "$@" --public-key <(cat ours.pub)'
    command = ["bash", "-c", line, "-", sys.executable, "-m", "wdstools", "verify", "signed"]
    ran = subprocess.run(
        command, cwd=place, env=environment(PYTHONPATH=str(REPOSITORY)), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_signature_lies_outside_root_and_checksum_list(place: Path) -> None:
    for path in (MANIFEST_PATH, SUMS_PATH, "README.md"):
        assert (place / "signed" / path).read_bytes() == (place / "unsigned" / path).read_bytes()


def test_anything_else_is_refused_with_a_code_of_its_own(place: Path, tmp_path: Path) -> None:
    assert _refusal(place / "unsigned", place / "ours.pub") == "signature-missing"
    assert _refusal(place / "signed", place / "theirs.pub") == "signature-other-key"
    other = make_dataset(tmp_path, train=15)
    shutil.copytree(place / "signed" / SIGNATURES, other / SIGNATURES)
    assert _refusal(other, place / "ours.pub") == "signature-other-root"
    pulled = run_command("pull", other, tmp_path / "copy", "--public-key", place / "ours.pub", "--json")
    assert (pulled.code, pulled.error["code"]) == (1, "signature-other-root")
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "copy.partial").exists()


def test_a_manifest_that_was_tampered_with_is_refused(place: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(place / "signed", tmp_path / "copy")
    manifest = copy / MANIFEST_PATH
    manifest.write_bytes(manifest.read_bytes().replace(b'"seed":0', b'"seed":1'))
    assert _refusal(copy, place / "ours.pub") == "signature-other-root"


def _changed(bundle: bytes, change: str) -> bytes:
    document: Any = json.loads(bundle)
    envelope = document["dsseEnvelope"]
    if change == "payload":
        payload = json.loads(base64.b64decode(envelope["payload"]))
        payload["subject"][0]["name"] = "other"
        envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    elif change == "signature":
        envelope["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    elif change == "no signature":
        envelope["signatures"] = []
    elif change == "hint":
        document["verificationMaterial"]["publicKey"]["hint"] = "0" * 64
    elif change == "type":
        document["mediaType"] = "text/plain"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("payload", "signature-invalid"),
        ("signature", "signature-invalid"),
        ("no signature", "signature-invalid"),
        ("hint", "signature-other-key"),
        ("type", "signature-invalid"),
    ],
)
def test_a_forged_bundle_is_refused(place: Path, tmp_path: Path, change: str, code: str) -> None:
    copy = shutil.copytree(place / "signed", tmp_path / "copy")
    bundle = _bundle(copy)
    bundle.write_bytes(_changed(bundle.read_bytes(), change))
    with pytest.raises(wt.IntegrityError) as refused:
        wt.verify(copy, public_key=place / "ours.pub")
    assert refused.value.code == code


@given(data=st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b'{"verificationMaterial":1}')))
def test_no_bundle_gives_a_traceback(place: Path, data: bytes) -> None:
    copy = place / "garbage"
    if not copy.exists():
        shutil.copytree(place / "unsigned", copy)
        (copy / SIGNATURES).mkdir()
    (copy / SIGNATURES / "a.sigstore.json").write_bytes(data)
    with pytest.raises(wt.IntegrityError) as refused:
        signed_by(open_dataset(copy), read_public_key(str(place / "ours.pub")))
    assert refused.value.code == "signature-invalid"


def test_a_bundle_that_is_no_file_of_the_dataset_is_not_read(place: Path, tmp_path: Path) -> None:
    name = _bundle(place / "signed").name
    kinds = {"link": "invalid", "large": "invalid", "pipe": "missing", "folder": "missing"}
    for kind, code in kinds.items():
        copy = shutil.copytree(place / "unsigned", tmp_path / kind)
        (copy / SIGNATURES).mkdir()
        path = copy / SIGNATURES / name
        if kind == "link":
            path.symlink_to(_bundle(place / "signed"))
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            with path.open("wb") as file:
                file.truncate(MAX_BUNDLE_BYTES * 1024)
        assert _refusal(copy, place / "ours.pub") == f"signature-{code}", kind


def test_of_several_signatures_one_suffices_and_each_key_has_its_own(place: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(place / "signed", tmp_path / "copy")
    assert run_command("sign", copy, "--key", place / "theirs.pem").code == 0
    (copy / SIGNATURES / "0damaged.sigstore.json").write_bytes(b"{")
    assert len(list((copy / SIGNATURES).iterdir())) == 3
    for name in ("ours", "theirs"):
        assert run_command("verify", copy, "--public-key", place / f"{name}.pub").code == 0
    renamed = _bundle(place / "signed").name
    (copy / SIGNATURES / renamed).rename(copy / SIGNATURES / "by-the-lab.sigstore.json")
    assert run_command("verify", copy, "--public-key", place / "ours.pub").code == 0


def test_signatures_are_mirrored_and_pulled(place: Path, tmp_path: Path) -> None:
    (place / "signed" / SIGNATURES / "stale.sigstore.json").write_bytes(b"{}")
    try:
        assert run_command("mirror", place / "signed", tmp_path / "mirror", "-y").code == 0
    finally:
        (place / "signed" / SIGNATURES / "stale.sigstore.json").unlink()
    assert _bundle(tmp_path / "mirror").read_bytes() == _bundle(place / "signed").read_bytes()
    ran = run_command("pull", tmp_path / "mirror", tmp_path / "copy", "--public-key", place / "ours.pub", "--json")
    assert (ran.code, ran.summary["proved"]) == (0, "forger")
    assert ran.summary["signer"].startswith("SHA256:")
    again = run_command("verify", tmp_path / "copy", "--public-key", place / "ours.pub")
    assert again.code == 0
    part = run_command(
        "pull", tmp_path / "mirror", tmp_path / "part", "--split", "val", "--public-key", place / "ours.pub"
    )
    assert part.code == 0
    assert not (tmp_path / "part" / SIGNATURES).exists(), "a part is another root"


def test_a_change_removes_the_signature_of_the_old_version(place: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(place / "signed", tmp_path / "copy")
    key = wt.open_dataset(copy)["train"][0].key
    (tmp_path / "keys").write_text(f"{key}\n")
    assert run_command("remove", copy, "--keys", tmp_path / "keys", "--in-place", "-y").code == 0
    assert _refusal(copy, place / "ours.pub") == "signature-missing"
    assert run_command("sign", copy, "--key", place / "ours.pem").code == 0
    assert run_command("verify", copy, "--public-key", place / "ours.pub", "--min-version", "2").code == 0


def test_an_older_version_is_refused_unless_said(place: Path, tmp_path: Path) -> None:
    old = place / "signed"
    ran = run_command("pull", old, tmp_path / "x", "--public-key", place / "ours.pub", "--min-version", "2", "--json")
    assert (ran.code, ran.error["code"]) == (1, "older-version")
    assert not (tmp_path / "x").exists()
    new = shutil.copytree(old, tmp_path / "new")
    (tmp_path / "keys").write_text(f"{wt.open_dataset(new)['train'][0].key}\n")
    assert run_command("remove", new, "--keys", tmp_path / "keys", "--in-place", "-y").code == 0
    seeded = run_command("pull", old, tmp_path / "y", "--seed", new, "--json")
    assert (seeded.code, seeded.error["code"]) == (4, "newer-version")
    assert run_command("pull", old, tmp_path / "y", "--seed", new, "--allow-older").code == 0
    there = run_command("pull", old, new, "--json")
    assert (there.code, there.error["code"]) == (4, "newer-version")


def test_keys_that_cannot_be_used_are_refused(place: Path, tmp_path: Path) -> None:
    signed = place / "signed"
    for flag, path, code in (
        ("--public-key", place / "ours.pem", "public-key-invalid"),
        ("--public-key", signed / MANIFEST_PATH, "public-key-invalid"),
        ("--public-key", tmp_path / "none", "not-found"),
    ):
        ran = run_command("verify", signed, flag, path, "--json")
        assert (ran.code, ran.error["code"]) == (4 if code == "not-found" else 2, code)
    for path, code in ((place / "ours.pub", "signing-key-invalid"), (signed / MANIFEST_PATH, "signing-key-invalid")):
        ran = run_command("sign", signed, "--key", path, "--json")
        assert (ran.code, ran.error["code"]) == (2, code)
    assert run_command("sign", signed).code == 2


def test_a_key_with_a_password(place: Path, tmp_path: Path) -> None:
    _make_key(tmp_path / "key.pem", tmp_path / "key.pub", "-aes256", "-pass", "pass:canary")
    copy = shutil.copytree(place / "unsigned", tmp_path / "copy")
    assert run_command("sign", copy, "--key", tmp_path / "key.pem", "--json").error["code"] == "signing-key-invalid"
    (tmp_path / "password").write_text("canary\n")
    ran = run_command("sign", copy, "--key", tmp_path / "key.pem", "--password-file", tmp_path / "password", "-v")
    assert ran.code == 0
    assert "canary" not in ran.out + ran.err
    assert run_command("verify", copy, "--public-key", tmp_path / "key.pub").code == 0


def test_a_manifest_file_alone_has_its_signature_beside_it(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "signed" / MANIFEST_PATH, tmp_path / "city.json")
    shutil.copy(_bundle(place / "signed"), tmp_path / "city.json.sigstore.json")
    ran = run_command(
        "verify", tmp_path / "city.json", "--at", place / "unsigned", "--public-key", place / "ours.pub", "--json"
    )
    assert (ran.code, ran.summary["proved"]) == (0, "forger")


def _certificates(folder: Path) -> None:
    """An authority, the certificate of our key that it issued, and another authority."""

    def openssl(line: str) -> None:
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        _make_key(folder / f"{name}.pem", folder / f"{name}.pub")
        openssl(f"req -x509 -new -key {name}.pem -subj /CN={name} -days 30 -out {name}.crt")
    (folder / "usage").write_text("keyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n")
    openssl("req -new -key ours.pem -subj /CN=laboratory -out csr")
    openssl("x509 -req -in csr -CA ca.crt -CAkey ca.pem -CAcreateserial -days 30 -extfile usage -out ours.crt")


def test_a_certificate_says_who_signed_and_authorities_decide(place: Path, tmp_path: Path) -> None:
    _certificates(place)
    dataset = shutil.copytree(place / "unsigned", tmp_path / "set")
    ran = run_command("sign", dataset, "--key", place / "ours.pem", "--certificate", place / "ours.crt", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert "CN=laboratory" in ran.summary["signer"]
    checked = run_command("verify", dataset, "--authorities", place / "ca.crt", "--json")
    assert (checked.code, checked.summary["proved"]) == (0, "forger")
    assert "CN=laboratory" in checked.summary["proof"]
    pulled = run_command("pull", dataset, tmp_path / "copy", "--authorities", place / "ca.crt", "--json")
    assert (pulled.code, pulled.summary["proved"]) == (0, "forger")
    assert _bundle(tmp_path / "copy").read_bytes() == _bundle(dataset).read_bytes()
    library = [sys.executable, "-m", "model_signing", "verify", "certificate", "--signature", str(_bundle(dataset))]
    subprocess.run(
        [*library, "--certificate_chain", str(place / "ca.crt"), str(dataset / MANIFEST_PATH)],
        check=True,
        capture_output=True,
    )
    for wrong, code in ((place / "stranger.crt", "signature-other-key"), (place / "ours.pub", "authority-invalid")):
        refused = run_command("verify", dataset, "--authorities", wrong, "--json")
        assert_clean_failure(refused, 1, 2)
        assert refused.error["code"] == code
    missing = run_command("verify", place / "signed", "--authorities", place / "ca.crt", "--json")
    assert (missing.code, missing.error["code"]) == (1, "signature-other-key")
    manifest = dataset / MANIFEST_PATH
    manifest.write_bytes(manifest.read_bytes().replace(b'"seed":0', b'"seed":1'))
    forged = run_command("verify", dataset, "--authorities", place / "ca.crt", "--json")
    assert (forged.code, forged.error["code"]) == (1, "signature-other-root")


def test_a_certificate_of_another_key_signs_nothing(place: Path, tmp_path: Path) -> None:
    _certificates(place)
    dataset = shutil.copytree(place / "unsigned", tmp_path / "set")
    ran = run_command("sign", dataset, "--key", place / "theirs.pem", "--certificate", place / "ours.crt", "--json")
    assert (ran.code, ran.error["code"]) == (2, "certificate-invalid")
    assert not (dataset / SIGNATURES).exists()
