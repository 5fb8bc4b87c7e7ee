"""Encryption of a stream: the age format (https://age-encryption.org/v1), which any age program reads.

Recipients and identities are pyrage's work. It takes a passphrase for whole texts in memory only, so the format's
passphrase form is written here, over the primitives of `cryptography`; the tests hold it against pyrage.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from typing import Protocol

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"age-encryption.org/v1"
CHUNK = 64 * 1024
TAG = 16
WORK = 17
"""log2 of scrypt's cost for new files: 128 MiB of memory for a moment."""
MOST_WORK = 20
"""A file that asks for more is refused: it would take gigabytes to say no."""

_HEADER = re.compile(
    rb"age-encryption\.org/v1\n-> scrypt ([A-Za-z0-9+/]{22}) ([1-9][0-9]?)\n([A-Za-z0-9+/]{43})\n"
    rb"--- ([A-Za-z0-9+/]{43})\n"
)
_HEADER_BYTES = 256


class ByteReader(Protocol):
    """What is read from; None of its reads returns less than asked for but the last."""

    def read(self, size: int, /) -> bytes:
        """Read the next bytes."""


class ByteWriter(Protocol):
    """What is written to."""

    def write(self, data: bytes, /) -> object:
        """Write all of these bytes."""

    def flush(self) -> None:
        """Hand on what is held back."""


Transform = Callable[[ByteReader, ByteWriter], None]
"""Reads a stream to its end and writes what becomes of it."""


class NotOpened(Exception):
    """The stream is not authentic, not whole or not for us; the text says which, as far as that is known."""


def encrypt_to_recipients(*texts: str) -> Transform:
    """Encrypt for recipients in age's notation, `age1…`. Raises ValueError for one that is none."""
    try:
        recipients = [pyrage.x25519.Recipient.from_str(text) for text in texts]
    except pyrage.RecipientError:
        raise ValueError("a recipient looks like age1…: the public key that age-keygen shows") from None
    return lambda reader, writer: pyrage.encrypt_io(reader, writer, recipients)


def decrypt_with_identities(text: str) -> Transform:
    """Decrypt with the identities in a file's text, as age-keygen writes it. Raises ValueError if there are none."""
    lines = [line.strip() for line in text.splitlines()]
    try:
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        raise ValueError("it is not an identity file as age-keygen writes it") from None
    if not found:
        raise ValueError("it holds no identity")

    def decrypt(reader: ByteReader, writer: ByteWriter) -> None:
        try:
            pyrage.decrypt_io(reader, writer, found)
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise NotOpened("it is encrypted for another key") from None
            raise NotOpened("it is damaged or was altered") from None
        except OSError as error:
            if error.errno is not None:
                raise
            # The library's own: a chunk that is not authentic, missing or in another place.
            raise NotOpened("it is damaged, cut off or was altered") from None

    return decrypt


def make_identity() -> str:
    """Make a new identity file, as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    return f"# public key: {identity.to_public()}\n{identity}\n"


def derive_recipient(text: str) -> str:
    """Derive the recipient of an identity file. Raises ValueError if it is none."""
    decrypt_with_identities(text)
    line = next(line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-"))
    return str(pyrage.x25519.Identity.from_str(line.strip()).to_public())


def encrypt_with_passphrase(passphrase: str, work: int = WORK) -> Transform:
    """Encrypt with a passphrase."""

    def encrypt(reader: ByteReader, writer: ByteWriter) -> None:
        salt, file_key, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
        body = ChaCha20Poly1305(_stretch(passphrase, salt, work)).encrypt(bytes(12), file_key, None)
        head = b"%s\n-> scrypt %s %d\n%s\n---" % (VERSION, _encode_base64(salt), work, _encode_base64(body))
        writer.write(head + b" " + _encode_base64(_compute_mac(file_key, head)) + b"\n" + nonce)
        cipher = ChaCha20Poly1305(_derive(file_key, nonce, b"payload"))
        number, chunk = 0, reader.read(CHUNK)
        while True:
            following = reader.read(CHUNK) if len(chunk) == CHUNK else b""
            writer.write(cipher.encrypt(_make_nonce(number, last=not following), chunk, None))
            if not following:
                break
            number, chunk = number + 1, following
        writer.flush()

    return encrypt


def decrypt_with_passphrase(passphrase: str) -> Transform:
    """Decrypt with a passphrase."""

    def decrypt(reader: ByteReader, writer: ByteWriter) -> None:
        start = reader.read(_HEADER_BYTES)
        found = _HEADER.match(start)
        if found is None or int(found[2]) > MOST_WORK:
            raise NotOpened("it is not sealed with a passphrase, or its head is damaged")
        file_key = _unwrap_file_key(passphrase, found)
        rest = start[found.end() :]
        rest += reader.read(16)
        cipher = ChaCha20Poly1305(_derive(file_key, rest[:16], b"payload"))
        held = rest[16:]
        number = 0
        try:
            while True:
                held += reader.read(CHUNK + TAG - len(held) + 1)
                last = len(held) <= CHUNK + TAG
                data = cipher.decrypt(_make_nonce(number, last=last), held[: CHUNK + TAG], None)
                if last and not data and number:
                    raise NotOpened("it is damaged or was altered")
                writer.write(data)
                if last:
                    break
                held, number = held[CHUNK + TAG :], number + 1
        except (InvalidTag, ValueError):
            raise NotOpened("it is damaged, cut off or was altered") from None
        writer.flush()

    return decrypt


def needs_passphrase(start: bytes) -> bool:
    """Tell whether an encrypted stream that begins so needs a passphrase."""
    return start.startswith(VERSION + b"\n-> scrypt ")


def _unwrap_file_key(passphrase: str, found: re.Match[bytes]) -> bytes:
    salt, body, mac = (_decode_base64(found[group]) for group in (1, 3, 4))
    try:
        key = ChaCha20Poly1305(_stretch(passphrase, salt, int(found[2]))).decrypt(bytes(12), body, None)
    except InvalidTag:
        raise NotOpened("the passphrase is wrong, or its head is damaged") from None
    head = found.string[: found.start(4) - 1]
    if not hmac.compare_digest(_compute_mac(key, head), mac):
        raise NotOpened("its head is damaged or was altered")
    return key


def _stretch(passphrase: str, salt: bytes, work: int) -> bytes:
    salted = VERSION + b"/scrypt" + salt
    return hashlib.scrypt(
        passphrase.encode(), salt=salted, n=1 << work, r=8, p=1, dklen=32, maxmem=(1 << work) * 1024 + (1 << 20)
    )


def _compute_mac(file_key: bytes, head: bytes) -> bytes:
    return hmac.digest(_derive(file_key, b"", b"header"), head, "sha256")


def _derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def _make_nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _encode_base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _decode_base64(text: bytes) -> bytes:
    data = base64.b64decode(text + b"=" * (-len(text) % 4))
    if _encode_base64(data) != text:
        raise NotOpened("its head is damaged")
    return data
