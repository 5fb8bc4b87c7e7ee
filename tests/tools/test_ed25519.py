"""The auditor's Ed25519, held against RFC 8032's vectors, Wycheproof's, and OpenSSL over signatures made to mislead."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tools import verify_log
from tools.verify_log import ORDER, NotProved, P, check_signature
from yoq_audit.tlog.errors import NoteError
from yoq_audit.tlog.note import Verifier

RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589",
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
"""Section 7.1: tests 1, 2, 3 and SHA(abc), whose message is the hash: key, message, R and S."""

WYCHEPROOF = Path(__file__).with_name("wycheproof_ed25519.txt")

EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
"""The y of a point of order 8."""
SECOND_SPELLINGS = [
    (y | sign << 255).to_bytes(32, "little") for y, sign in ((1, 1), (P - 1, 1), (P, 0), (P, 1), (P + 1, 0), (P + 1, 1))
]
"""What spells a point of small order a second time: with the sign of x = 0, or with y beyond the field."""


def accepts(key: bytes, text: bytes, signature: bytes) -> bool:
    """Whether the tool takes a signature."""
    try:
        check_signature(key, text, signature)
    except NotProved:
        return False
    return True


def openssl_accepts(key: bytes, text: bytes, signature: bytes) -> bool:
    """Whether OpenSSL does, which the program uses."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize(("key", "text", "first", "second"), RFC_8032)
def test_the_vectors_of_the_rfc(key: str, text: str, first: str, second: str) -> None:
    """Each holds, and with any bit flipped, in key, text or signature, none does."""
    given = {"key": bytes.fromhex(key), "text": bytes.fromhex(text), "signature": bytes.fromhex(first + second)}
    assert accepts(**given)
    for name, part in given.items():
        for bit in range(0, 8 * len(part), 37):
            changed = bytearray(part)
            changed[bit // 8] ^= 1 << bit % 8
            assert not accepts(**given | {name: bytes(changed)}), (name, bit)


def test_wycheproofs_vectors() -> None:
    """Each is taken or refused as it says."""
    lines = [line.split(" ") for line in WYCHEPROOF.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 70
    for number, result, kind, *parts in lines:
        key, text, signature = (bytes.fromhex(part.replace("-", "")) for part in parts)
        assert accepts(key, text, signature) == (result == "valid"), (number, kind)


def encode(y: int, sign: int) -> bytes:
    """A point as bytes, whether or not it is one."""
    return (y | sign << 255).to_bytes(32, "little")


def list_small_points() -> Iterator[bytes]:
    """All ways to write the points of small order: the eight right ones, and those that are to be refused."""
    for y in (0, 1, P - 1, EIGHTH, P - EIGHTH, P, P + 1):
        yield encode(y, 0)
        yield encode(y, 1)


def make_vkey(key: bytes) -> str:
    """The text of a log's key."""
    typed = b"\x01" + key
    return f"log+{hashlib.sha256(b'log' + bytes([10]) + typed).hexdigest()[:8]}+{base64.b64encode(typed).decode()}"


def test_points_of_small_order() -> None:
    """Of keys and R that could mislead it says what OpenSSL says; neither it nor the program knows such a key."""
    own = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    small = list(list_small_points())
    taken = 0
    for key in (own, *small):
        for first in (own, *small):
            for text in (b"a", b"b", b"c"):
                signature = first + bytes(32)
                ours, theirs = accepts(key, text, signature), openssl_accepts(key, text, signature)
                taken += ours
                # A key in a second spelling is refused here, as RFC 8032 says, though not by OpenSSL.
                assert ours == theirs or (theirs and key in SECOND_SPELLINGS), (key, first)
    assert taken > 10
    assert verify_log.add_key({}, make_vkey(own)) == ("log", Verifier.from_vkey(make_vkey(own)).key_id.hex())
    for key in small:
        with pytest.raises(NotProved):
            verify_log.add_key({}, make_vkey(key))
        with pytest.raises(NoteError):
            Verifier.from_vkey(make_vkey(key))


def test_signatures_out_of_range() -> None:
    """A signature has one S and one length; every other is refused."""
    signer = Ed25519PrivateKey.from_private_bytes(bytes(32))
    own, signature = signer.public_key().public_bytes_raw(), signer.sign(b"a")
    assert accepts(own, b"a", signature)
    s = int.from_bytes(signature[32:], "little")
    for more in (ORDER, 2 * ORDER, 8 * ORDER, 2**253, 2**254, 2**255, P):
        assert not accepts(own, b"a", signature[:32] + ((s + more) % 2**256).to_bytes(32, "little"))
    for other in (0, 1, ORDER - 1, ORDER, ORDER - s, 2**256 - 1):
        assert not accepts(own, b"a", signature[:32] + other.to_bytes(32, "little"))
    for length in range(64):
        assert not accepts(own, b"a", signature[:length])
    assert not accepts(own, b"a", signature + b"\0")
