"""How yoq encrypts its secrets: XChaCha20-Poly1305 under the 32 bytes of its key file (its src/state/secrets/).

The nonce has 24 bytes; the tag is stored apart; nothing else is authenticated, not even the name.
"""

from __future__ import annotations

import struct
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from yoq_web import files
from yoq_web.problems import Problem
from yoq_web.settings import SettingsError

KEY_FILE = "secrets.key"
KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16
CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def read_key(path: Path) -> bytes:
    """Read yoq's key file. Raises a Problem."""
    try:
        key = files.read_if_there(path)
    except SettingsError as error:
        raise Problem(400, f"the key of yoq's secrets cannot be read: {error}") from None
    if key is None:
        said = f"there is no {path}; give yoq's {KEY_FILE} with --key, or leave the secrets with --without-secrets"
        raise Problem(400, f"the key of yoq's secrets is missing: {said}")
    if len(key) != KEY_BYTES:
        raise Problem(400, f"the key of yoq's secrets cannot be used: {path} does not hold {KEY_BYTES} bytes")
    return key


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, tag: bytes) -> bytes | None:
    """Decrypt a value of yoq's; None if it was made under another key, or altered."""
    if (len(nonce), len(tag)) != (NONCE_BYTES, TAG_BYTES):
        return None
    cipher = ChaCha20Poly1305(derive_subkey(key, nonce[:16]))
    try:
        return cipher.decrypt(bytes(4) + nonce[16:], ciphertext + tag, None)
    except InvalidTag:
        return None


def derive_subkey(key: bytes, nonce: bytes) -> bytes:
    """Derive the key for the rest of a nonce from its first 16 bytes: HChaCha20 (draft-irtf-cfrg-xchacha-03, 2.2).

    That is ChaCha20's block without the addition of its input at the end, which is taken away again here.
    """
    block = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64))
    words = struct.unpack("<16I", block)
    added = CONSTANTS + struct.unpack("<4I", nonce)
    chosen = words[:4] + words[12:]
    return struct.pack("<8I", *((word - one) % 2**32 for word, one in zip(chosen, added, strict=True)))
