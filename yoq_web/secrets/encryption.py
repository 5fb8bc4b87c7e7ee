"""Encrypting secrets: AES-256-GCM (NIST SP 800-38D) with a key file in the data directory."""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_web import files
from yoq_web.problems import Problem
from yoq_web.secrets.models import Secret
from yoq_web.settings import Settings, SettingsError

KEY_FILE = "secrets.key"
KEY_BYTES = 32
NONCE_BYTES = 12
PURPOSE = b"yoq-web secret\0"


class Cipher:
    """Encrypts and decrypts secrets under one key. `key_id` tells keys apart and reveals nothing of the key."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self.key_id = hashlib.sha256(b"yoq-web key id\0" + key).hexdigest()[:16]

    def encrypt(self, name: str, value: str) -> tuple[bytes, bytes]:
        """A fresh nonce, and the ciphertext of `value`, which opens under `name` only."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce, self._aead.encrypt(nonce, value.encode(), PURPOSE + name.encode())

    def decrypt(self, secret: Secret) -> str:
        """The value of a stored secret. Raises a Problem if it was made under another key or name, or altered."""
        if secret.key_id != self.key_id:
            raise Problem(500, "wrong key", f"the secret needs the key {secret.key_id}, {KEY_FILE} is {self.key_id}")
        try:
            return self._aead.decrypt(secret.nonce, secret.ciphertext, PURPOSE + secret.name.encode()).decode()
        except (InvalidTag, ValueError):  # a ValueError is a nonce of a length that cannot be
            detail = "its row was altered or moved from another name"
            raise Problem(500, "the secret cannot be decrypted", detail) from None


def load_cipher(settings: Settings, session: Session) -> Cipher:
    """The cipher for the key file, which is made at the first use.

    Raises a Problem, and makes nothing, if the database holds secrets of another key: they would be lost among others.
    """
    path = settings.data_dir / KEY_FILE
    stored = session.scalar(select(Secret.key_id).limit(1))
    if not path.exists() and stored is not None:
        raise Problem(500, "the secrets key is missing", f"put back {path}, whose id is {stored}; nothing was changed")
    try:
        key = files.private(path, lambda: os.urandom(KEY_BYTES))
    except SettingsError as error:
        raise Problem(500, "the secrets key cannot be used", str(error)) from None
    if len(key) != KEY_BYTES:
        raise Problem(500, "the secrets key cannot be used", f"{path} must hold {KEY_BYTES} bytes")
    cipher = Cipher(key)
    if stored is not None and stored != cipher.key_id:
        raise Problem(500, "wrong key", f"the database's secrets need the key {stored}, {path} is {cipher.key_id}")
    return cipher
