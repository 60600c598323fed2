"""Signatures: what was signed opens, what was changed or signed by a stranger does not."""

import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fpenet.cli.main import main
from fpenet.provenance.digest import canonical_json
from fpenet.provenance.signing import (
    PublicKey,
    SigningKey,
    make_key,
    parse_signature,
    read_signing_key,
    read_trusted,
    sign,
    sign_file,
    verify,
    verify_file,
)

# RFC 8032, section 7.1, test 2: a secret, its public key, and the signature of one byte.
SECRET = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNED_72 = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return make_key(tmp_path / "keys" / "release.pem")


@pytest.fixture
def paper(tmp_path: Path, key: SigningKey) -> Path:
    path = tmp_path / "paper.txt"
    path.write_bytes(b"three engines\n")
    sign_file(path, key)
    return path


def rfc_key() -> SigningKey:
    public = PublicKey("rfc", bytes.fromhex(PUBLIC))
    return SigningKey(public, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SECRET)))


def test_the_signature_is_that_of_rfc_8032() -> None:
    key = rfc_key()
    signature = sign(b"\x72", key)
    assert signature.value.hex() == SIGNED_72
    assert verify(b"\x72", signature, [key.public], "a byte") == key.public


def test_openssl_reads_our_keys_and_signs_alike(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "text").write_bytes(b"three engines\n")
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", "keys/release.pem", "-in", "text"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert made == sign(b"three engines\n", key).value


def test_a_key_is_for_its_owner_alone_and_is_never_printed(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "keys" / "release.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text().splitlines()[1]
    assert secret not in repr(key) + str(key)
    assert str(key.public) == f"release key {key.public.id}"
    with pytest.raises(ValueError, match=r"release\.pem: exists already"):
        make_key(path)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="every user can read; chmod 600"):
        read_signing_key(path)


def test_the_command_makes_a_key_and_prints_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "team.pem"
    assert main(["key", str(path)]) == 0
    public = read_signing_key(path).public
    assert capsys.readouterr().out == f"{path}: {public}\n"
    assert read_trusted([tmp_path / "team.pub"]) == (public,)
    assert main(["key", str(path)]) == 2


def test_a_signed_file_gives_its_bytes_and_who_signed(paper: Path, key: SigningKey) -> None:
    trusted = read_trusted([paper.parent / "keys"])
    assert verify_file(paper, trusted) == (b"three engines\n", key.public)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(b"four engines\n"), r"paper\.txt: is not what the release"),
        (lambda path: path.unlink(), r"paper\.txt: missing"),
        (
            lambda path: path.with_name("paper.txt.sig").unlink(),
            "paper.txt: not signed; paper.txt.s",
        ),
        (
            lambda path: path.with_name("paper.txt.sig").write_text("x"),
            "paper.txt.sig: not a signat",
        ),
    ],
)
def test_what_was_changed_is_named(paper: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(paper)
    with pytest.raises(ValueError, match=said):
        verify_file(paper, read_trusted([paper.parent / "keys"]))


def test_a_stranger_is_named_with_those_who_are_trusted(paper: Path, key: SigningKey) -> None:
    other = make_key(paper.parent / "others" / "development.pem").public
    with pytest.raises(
        ValueError, match=f"signed by key {key.public.id}, which is not trusted"
    ) as e:
        verify_file(paper, [other])
    assert f"trusted are development key {other.id}" in str(e.value)
    with pytest.raises(ValueError, match="trusted are none"):
        verify_file(paper, [])


def test_a_stranger_who_takes_the_name_of_a_trusted_key_is_refused(key: SigningKey) -> None:
    line = f"ed25519 {key.public.id} " + str(sign(b"x", rfc_key())).split()[2]
    with pytest.raises(ValueError, match="note: is not what the release key"):
        verify(b"x", parse_signature(line, "note.sig"), [key.public], "note")


@given(st.data())
def test_no_byte_of_text_or_signature_can_be_another(data: st.DataObject) -> None:
    key, text = rfc_key(), b"three engines"
    line = str(sign(text, key)).encode()
    both = bytearray(text + line)
    place = data.draw(st.integers(0, len(both) - 1))
    both[place] ^= data.draw(st.integers(1, 255))
    payload, flipped = bytes(both[: len(text)]), both[len(text) :].decode("latin-1")
    with pytest.raises(ValueError, match=r"^note"):
        verify(payload, parse_signature(flipped, "note.sig"), [key.public], "note")


def test_json_is_signed_in_one_form_however_it_is_written() -> None:
    key = rfc_key()
    one, other = json.loads('{"b": 1, "a": "é"}'), json.loads('{ "a":"\\u00e9", "b":1 }')
    assert canonical_json(one) == b'{"a":"\\u00e9","b":1}'
    assert sign(canonical_json(one), key) == sign(canonical_json(other), key)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory, so no signature is trusted"),
        (b"", "not an Ed25519 public key in PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not an Ed25519 public"),
    ],
)
def test_a_public_key_that_is_none_is_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "team.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"team\.pub: {said}"):
        read_trusted([path])
    path.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="no public key"):
        read_trusted([tmp_path])


def test_a_private_key_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "team.pem"
    with pytest.raises(ValueError, match=r"team\.pem: No such file.*`make setup` creates"):
        read_signing_key(path)
    path.touch(0o600)
    with pytest.raises(ValueError, match="not an Ed25519 private key in PEM"):
        read_signing_key(path)
