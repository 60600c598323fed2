"""Files under the model load key: any content, nothing but the right key, nothing altered."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpenet.provenance.encryption import (
    MAGIC,
    ModelKey,
    decrypt_file,
    encrypt_file,
    is_encrypted,
)

KEY = ModelKey("correct horse battery staple")
SALT = bytes(range(16))
HEADER = len(MAGIC) + 16 + 32
CHUNK = (1 << 16) + 16


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """150,000 bytes, three chunks, encrypted as ``cpu/net.onnx``."""
    (tmp_path / "plain").write_bytes(bytes(i % 251 for i in range(150_000)))
    encrypt_file(tmp_path / "plain", tmp_path / "sealed", "cpu/net.onnx", KEY, SALT)
    return tmp_path / "sealed"


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.sampled_from([0, 1, 65_535, 65_536, 65_537, 131_072]), byte=st.integers(0, 255))
def test_what_is_decrypted_is_what_was_encrypted(tmp_path: Path, size: int, byte: int) -> None:
    plain, sealed, again = (tmp_path / name for name in ("plain", "sealed", "again"))
    plain.write_bytes(bytes([byte]) * size)
    encrypt_file(plain, sealed, "a/b", KEY, SALT)
    chunks = max(1, -(-size // 65_536))
    assert sealed.stat().st_size == HEADER + size + 16 * chunks
    assert is_encrypted(sealed)
    decrypt_file(sealed, again, "a/b", KEY)
    assert again.read_bytes() == plain.read_bytes()


def test_the_same_file_gives_the_same_bytes_and_any_other_gives_others(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"weights")
    (tmp_path / "two").write_bytes(b"weightz")
    seen = []
    for file, name, key, salt in (
        ("one", "a", KEY, SALT),
        ("one", "a", KEY, SALT),
        ("two", "a", KEY, SALT),
        ("one", "b", KEY, SALT),
        ("one", "a", ModelKey(KEY.secret + "r"), SALT),
        ("one", "a", KEY, SALT[::-1]),
    ):
        encrypt_file(tmp_path / file, tmp_path / "out", name, key, salt)
        seen.append((tmp_path / "out").read_bytes()[HEADER:])
    assert seen[0] == seen[1]
    assert len(set(seen)) == 5
    assert b"weight" not in b"".join(seen)


def test_a_chunk_is_what_the_library_says_of_its_key_number_and_name(sealed: Path) -> None:
    """The format, written down a second time."""
    import hashlib

    data = sealed.read_bytes()
    master = hashlib.scrypt(
        KEY.secret.encode(), salt=SALT, n=65536, r=8, p=1, dklen=32, maxmem=1 << 27
    )
    file_salt = data[HEADER - 32 : HEADER]
    cipher = ChaCha20Poly1305(HKDF(SHA256(), 32, file_salt, b"fpenet file key").derive(master))
    middle = data[HEADER + CHUNK : HEADER + 2 * CHUNK]
    nonce = bytes(10) + b"\x01" + b"\x00"
    plain = bytes(i % 251 for i in range(65_536, 131_072))
    assert cipher.decrypt(nonce, middle, b"cpu/net.onnx") == plain


def altered(data: bytes) -> dict[str, bytes]:
    first, second, last = (
        data[HEADER + n * CHUNK : min(HEADER + (n + 1) * CHUNK, len(data))] for n in range(3)
    )
    head = data[:HEADER]
    return {
        "a bit of a chunk": data[:-1] + bytes([data[-1] ^ 1]),
        "a bit of its salt": data[: HEADER - 1] + bytes([data[HEADER - 1] ^ 1]) + data[HEADER:],
        "a bit of the salt of scrypt": MAGIC + b"\xff" + data[len(MAGIC) + 1 :],
        "cut at a chunk": head + first + second,
        "cut in a chunk": data[:-5],
        "cut to its head": head,
        "chunks exchanged": head + second + first + last,
        "a chunk left out": head + second + last,
        "a chunk twice": head + first + second + second + last,
        "more at its end": data + b"0",
    }


def test_nothing_can_be_altered(sealed: Path, tmp_path: Path) -> None:
    data = sealed.read_bytes()
    for what, bad in altered(data).items():
        sealed.write_bytes(bad)
        with pytest.raises(
            ValueError, match=r"^cpu/net\.onnx: cannot be decrypted: it was encrypted"
        ):
            decrypt_file(sealed, tmp_path / "again", "cpu/net.onnx", KEY)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "sealed"], what
    sealed.write_bytes(data)
    with pytest.raises(ValueError, match=r"^cpu/other\.onnx: cannot be decrypted"):
        decrypt_file(sealed, tmp_path / "again", "cpu/other.onnx", KEY)


def test_a_wrong_key_is_one_line_that_tells_no_key(sealed: Path, tmp_path: Path) -> None:
    wrong = ModelKey("incorrect horse battery staple")
    with pytest.raises(ValueError, match="it was encrypted with another model key") as error:
        decrypt_file(sealed, tmp_path / "again", "cpu/net.onnx", wrong)
    said = f"{error.value} {wrong!r} {wrong}"
    assert "\n" not in said
    assert "horse" not in said
    assert wrong.id(SALT) != KEY.id(SALT)
    with pytest.raises(ValueError, match="fewer than 16 characters") as error:
        ModelKey("short horse")
    assert "horse" not in str(error.value)
    with pytest.raises(ValueError, match="plain: not an encrypted file"):
        decrypt_file(tmp_path / "plain", tmp_path / "again", "plain", KEY)
