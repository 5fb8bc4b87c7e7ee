"""Encryption of secrets and of the keys they are encrypted with: AES-256-GCM (NIST SP 800-38D)."""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from yoq_web.problems import Problem
from yoq_web.secrets.models import Secret

KEY_BYTES = 32
NONCE_BYTES = 12
PURPOSE = b"yoq-web secret\0"
WRAPPING = b"yoq-web data key\0"


class WrongKey(Exception):
    """A wrapped key does not open: under another master key, or altered."""


def compute_key_id(key: bytes) -> str:
    """Compute what tells a key from others and reveals nothing of it."""
    return hashlib.sha256(b"yoq-web key id\0" + key).hexdigest()[:16]


class Cipher:
    """Encrypts and decrypts secrets under one data key."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self.key_id = compute_key_id(key)

    def encrypt(self, name: str, value: str) -> tuple[bytes, bytes]:
        """Encrypt a value so that it opens under `name` only. Returns a fresh nonce and the ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce, self._aead.encrypt(nonce, value.encode(), PURPOSE + name.encode())

    def decrypt(self, secret: Secret) -> str:
        """Decrypt a stored secret. Raises a Problem if it was made under another key or name, or altered."""
        try:
            return self._aead.decrypt(secret.nonce, secret.ciphertext, PURPOSE + secret.name.encode()).decode()
        except (InvalidTag, ValueError):  # a ValueError is a nonce of a length that cannot be
            detail = "its row was altered or moved from another name"
            raise Problem(500, "the secret cannot be decrypted", detail) from None


def wrap(master: bytes, key: bytes) -> bytes:
    """Encrypt a data key under a master key, bound to its id."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _make_wrapping_cipher(master).encrypt(nonce, key, WRAPPING + compute_key_id(key).encode())


def unwrap(master: bytes, key_id: str, wrapped: bytes) -> bytes:
    """Decrypt the data key of this id that wrap() encrypted. Raises WrongKey."""
    nonce, ciphertext = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    try:
        return _make_wrapping_cipher(master).decrypt(nonce, ciphertext, WRAPPING + key_id.encode())
    except (InvalidTag, ValueError):
        raise WrongKey from None


def _make_wrapping_cipher(master: bytes) -> AESGCM:
    # Not the master key itself: an older version encrypted secrets with it.
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=b"yoq-web master key").derive(master))
