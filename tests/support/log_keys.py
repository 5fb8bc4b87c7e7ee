"""What the tests of the log's keys share: rotations, who signed what, and an auditor who follows the keys."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import Flask

from tests.support.door import acting, behind
from yoq_audit.sealing import keys, rotation, sealer
from yoq_audit.tlog.codec import decode_base64
from yoq_audit.tlog.note import Signer

LOG = "/v1/audit/log"


def rotate(app: Flask) -> str:
    """Rotate the key as the administrator; returns the new public one."""
    with acting(app):
        return rotation.rotate_key()


def read_own_key(app: Flask) -> Signer:
    """This machine's key."""
    with app.app_context():
        key = keys.read_signer()
    assert key is not None
    return key


def list_signers(url: str) -> list[str]:
    """The id of the key that signed each checkpoint, by size; where two did, the ids of both."""
    rows = behind(url, "SELECT note FROM audit_checkpoint ORDER BY size")
    return ["+".join(map(_id, row["note"].rpartition("\n\n")[2].splitlines())) for row in rows]


def get_ids(*vkeys: str) -> list[str]:
    """The ids of public keys."""
    return [vkey.split("+")[1] for vkey in vkeys]


def read_health(app: Flask) -> str | None:
    """What /health says of the log after one beat."""
    with app.app_context():
        sealer.try_to_seal()
    answer = app.test_client().get("/health").json or {}
    said: str | None = answer.get("plugins", {}).get("audit")
    return said


def follow(announcement: str, vkey: str) -> str:
    """An auditor who knows one key finds the next: by the public format alone, the old key's signature checked."""
    text, _, lines = announcement.rpartition("\n\n")
    name, heading, old, new = text.split("\n")
    assert (heading, old) == ("key rotation", vkey)
    blob = next(decode_base64(line.split(" ")[2]) for line in lines.splitlines() if get_ids(vkey)[0] in _id(line))
    public = decode_base64(vkey.split("+", 2)[2])[1:]
    Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], f"{text}\n".encode())
    assert new.startswith(f"{name}+")
    return new


def _id(line: str) -> str:
    return decode_base64(line.split(" ")[2])[:4].hex()
