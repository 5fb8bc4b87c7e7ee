"""Signed notes: text signed with Ed25519 keys (C2SP signed-note).

Where the specification leaves a choice, this follows the strictest known implementation, Go's
golang.org/x/mod/sumdb/note: a note with one malformed signature line is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from yoq_audit.tlog.codec import decode_base64, encode_base64
from yoq_audit.tlog.errors import NoteError

ED25519 = 1
"""The signature type of plain Ed25519 ("Signature types")."""
MAX_SIGNATURES = 100
"""Sixteen must be accepted; there must be some limit."""

_FIELD = 2**255 - 19
_EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = {0, 1, _FIELD - 1, _EIGHTH, _FIELD - _EIGHTH}
"""The y of the points of order 1, 2, 4 or 8: who signs for such a key needs no private one. OpenSSL takes them."""

_KEY_ID_SIZE = 4
_SIGNATURE_START = "\u2014 "  # an em dash
_PRIVATE = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key that notes may be signed with: its name, and 32 bytes of Ed25519."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public_key) != 32:
            raise NoteError("an Ed25519 public key has 32 bytes")
        y = int.from_bytes(self.public_key, "little") % 2**255
        if y in _SMALL_ORDER or y >= _FIELD:
            raise NoteError("anybody can sign for this Ed25519 key")
        object.__setattr__(self, "key_id", _compute_key_id(self.name, self.public_key))

    @property
    def vkey(self) -> str:
        """The key as text: `<name>+<key id>+<base64 of type and key>`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([ED25519]) + self.public_key)}"

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """Read the key that the text describes; a key id that does not belong to the key is refused."""
        name, key_id, public_key = _parse_key(text)
        verifier = cls(name, public_key)
        if verifier.key_id.hex() != key_id:
            raise NoteError("the key id does not belong to the key")
        return verifier

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Tell whether this key signed the text ("Ed25519 signatures")."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs notes under a name."""

    name: str
    private_key: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        _check_name(self.name)

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self.private_key.public_key().public_bytes_raw())

    @property
    def vkey(self) -> str:
        """The public half as text."""
        return self.verifier.vkey

    def encode(self) -> str:
        """Write the private key, a secret, in Go's form: `PRIVATE+KEY+<name>+<key id>+<base64 of type and seed>`."""
        seed = self.private_key.private_bytes_raw()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encode_base64(bytes([ED25519]) + seed)}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what encode() wrote; no message of an error repeats any of the text."""
        if not text.startswith(_PRIVATE):
            raise NoteError("not the text of a private key")
        name, key_id, seed = _parse_key(text.removeprefix(_PRIVATE))
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        if signer.verifier.key_id.hex() != key_id:
            raise NoteError("the key id does not belong to the key")
        return signer


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note at least one known key signed: its text, the known keys that did, and the lines of unknown keys."""

    text: str
    verified: tuple[Verifier, ...]
    unknown: tuple[str, ...] = ()


def sign(text: str, *signers: Signer) -> str:
    """Make the text a note that is signed by these keys ("Format")."""
    if not text.endswith("\n"):
        raise NoteError("the text of a note must end with a newline")
    signed = _encode(text)
    if not 1 <= len(signers) <= MAX_SIGNATURES:
        raise NoteError(f"a note has from 1 to {MAX_SIGNATURES} signatures")
    lines: dict[tuple[str, bytes], str] = {}
    for signer in signers:
        key_id = signer.verifier.key_id
        if (signer.name, key_id) in lines:
            raise NoteError(f"the key {signer.name}+{key_id.hex()} can sign only once")
        blob = encode_base64(key_id + signer.private_key.sign(signed))
        lines[signer.name, key_id] = f"{_SIGNATURE_START}{signer.name} {blob}\n"
    return text + "\n" + "".join(lines.values())


def verify(note: str | bytes, verifiers: Iterable[Verifier]) -> OpenedNote:
    """Open a note that is signed by at least one of the known keys, and not wrongly by any ("Signatures").

    Signatures of unknown keys are ignored, but must be well formed. Of several signatures of one known key the first
    counts. A bytes argument must be UTF-8. Raises NoteError.
    """
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) is not verifier:
            raise NoteError(f"two known keys are both called {verifier.name}+{verifier.key_id.hex()}")
    text, lines = _split(_decode(note))
    signed = text.encode()
    verified: dict[tuple[str, bytes], Verifier] = {}
    unknown: dict[str, None] = {}  # in order, each once
    for line in lines:
        name, key_id, signature = _parse_signature(line)
        key = (name, key_id)
        if key not in known:
            unknown[line] = None
        elif key not in verified:
            if not known[key].accepts(signed, signature):
                raise NoteError(f"the signature of {name}+{key_id.hex()} is wrong")
            verified[key] = known[key]
    if not verified:
        raise NoteError("no known key signed the note")
    return OpenedNote(text, tuple(verified.values()), tuple(unknown))


def _split(note: str) -> tuple[str, list[str]]:
    """Return the text with its final newline and the signature lines: what is before and behind the LAST empty line."""
    at = note.rfind("\n\n")
    if at < 0:
        raise NoteError("the note has no empty line before signatures")
    text, signatures = note[: at + 1], note[at + 2 :]
    if not signatures.endswith("\n"):
        raise NoteError("the note must end with a signature line and a newline")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    return text, lines


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    """Return key name, key id and signature of a signature line."""
    if not line.startswith(_SIGNATURE_START):
        raise NoteError("a signature line must start with an em dash and a space")
    name, _, encoded = line.removeprefix(_SIGNATURE_START).partition(" ")
    _check_name(name)
    try:
        blob = decode_base64(encoded)
    except ValueError as error:
        raise NoteError(f"the signature of {name} is not base64") from error
    if len(blob) <= _KEY_ID_SIZE:
        raise NoteError(f"the signature of {name} is too short")
    return name, blob[:_KEY_ID_SIZE], blob[_KEY_ID_SIZE:]


def _parse_key(text: str) -> tuple[str, str, bytes]:
    """Return name, key id in hexadecimal, and 32 bytes of a key's text, which may be secret and is never repeated."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")  # base64 may contain a plus itself
    _check_name(name)
    try:
        typed = decode_base64(encoded)
    except ValueError:
        raise NoteError("the key is not base64") from None
    if typed[:1] != bytes([ED25519]):
        raise NoteError("the key is not an Ed25519 key")
    if len(typed) != 33:
        raise NoteError("an Ed25519 key has 32 bytes")
    return name, key_id, typed[1:]


def _compute_key_id(name: str, public_key: bytes) -> bytes:
    """Return the first four bytes of SHA-256(name || 0x0A || type || public key) ("Signatures")."""
    return sha256(name.encode() + b"\n" + bytes([ED25519]) + public_key).digest()[:_KEY_ID_SIZE]


def _check_name(name: str) -> None:
    """Raise NoteError for a key name that is empty, or has spaces of any kind or a plus."""
    if not name or "+" in name or any(char.isspace() for char in name):
        raise NoteError("a key name is not empty and has no space and no plus")
    _encode(name)


def _decode(note: str | bytes) -> str:
    """Return the note as text. Raises NoteError for characters that a note may not have."""
    if isinstance(note, bytes):
        try:
            note = note.decode()
        except UnicodeDecodeError as error:
            raise NoteError("the note is not UTF-8") from error
    _encode(note)
    return note


def _encode(text: str) -> bytes:
    """Return the text's bytes. Raises NoteError if it has a control character but the newline."""
    if any(char < " " and char != "\n" for char in text):
        raise NoteError("there is a control character")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NoteError("there is a character that UTF-8 cannot encode") from error
