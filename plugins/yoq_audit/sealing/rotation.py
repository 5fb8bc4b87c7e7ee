"""Rotation: the log gets a new signing key, or a machine a new head, each announced in the log itself.

A rotation has four steps, and is finished from any of them by whoever seals next on this machine:
1. the new private key is written to `log.key.next`;
2. its announcement, signed by both keys, is committed with the entry that carries it;
3. both keys sign a tree that holds that entry, and from then on the old one signs nothing;
4. the new key takes the place of the old one in `log.key`.
"""

from __future__ import annotations

import time
from base64 import b64encode

from sqlalchemy import insert

from yoq_audit.sealing import keys, sealer, signer
from yoq_audit.sealing.key_chain import sign_announcement
from yoq_audit.sealing.signer import ROTATION
from yoq_audit.storage import tree
from yoq_audit.storage.models import LogKey
from yoq_audit.storage.tree import SignedTree
from yoq_audit.tlog.note import Signer
from yoq_web import Operation, Problem, db

audit_key_rotate = Operation(
    ROTATION,
    "Give the log a new signing key",
    "*",
    details=("previous", "announcement"),
    audit_failure="refuse",  # a key that no entry announces is not believed
    activity="update",
)
audit_head_accept = Operation(
    "audit_head_accept", "Take the log in the database as it is", "*", details=("size", "root"), activity="update"
)

OPERATIONS = (audit_key_rotate, audit_head_accept)


def rotate_key() -> str:
    """Replace this machine's signing key; returns the new public one. Raises a Problem if it may not sign now.

    One that was interrupted is finished instead.
    """
    sealer.seal(check=True)
    with keys.lock_keys():
        own = _require_key()
        new = keys.read_next_signer()
        if new is None or new.vkey == own.vkey or new.name != own.name:
            new = Signer.generate(own.name)
            keys.write_next(new)
        if signer.find_newest_key(db.session(), own) != new.verifier:
            _announce(own, new)
        sealer.seal()
        sealer.promote_key()
    return new.vkey


def _require_key() -> Signer:
    own = keys.read_signer()
    if own is None or not keys.read_chain(db.session(), own).keys:
        raise Problem(409, "this machine does not have the log's key", "do it where log.key is")
    return own


def _announce(own: Signer, new: Signer) -> None:
    announcement = sign_announcement(own, new)
    with audit_key_rotate.performed(new.vkey, previous=own.vkey, announcement=announcement) as session:
        signer.lock_sealing(session)
        if signer.find_newest_key(session, own) != own.verifier:
            raise Problem(409, "the log's key was just replaced", "see: yoq-web audit key")
        session.execute(insert(LogKey).values(vkey=new.vkey, added_at=int(time.time()), announcement=announcement))


def accept_head() -> SignedTree:
    """Keep the newest signed size as the head where there is none; the caller has verified the log.

    Raises a Problem if there is a head already, or nothing that could be one.
    """
    own = _require_key()
    chain = keys.read_chain(db.session(), own).keys
    if keys.read_head(chain) is not None:
        raise Problem(409, f"{keys.HEAD_FILE} is there", "it is not replaced; see: yoq-web audit verify")
    newest = _require_signed_tree()
    with audit_head_accept.performed(size=newest.size, root=b64encode(newest.root).decode()):
        pass
    keys.keep_head(newest.note, newest.size, chain)
    return newest


def _require_signed_tree() -> SignedTree:
    newest = tree.find_signed_tree(db.session())
    if newest is None:
        raise Problem(409, "the log has no entries yet")
    return newest
