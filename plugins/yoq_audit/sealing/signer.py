"""Who signs the log now, and whether it may be signed: the keys, their turns, and the head kept outside."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from yoq_audit.sealing import keys
from yoq_audit.sealing.edge import check_note
from yoq_audit.sealing.key_chain import KeyChain
from yoq_audit.settings import LOG_ORIGIN
from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES, LogKey
from yoq_audit.storage.tree import SignedTree, find_newest_checkpoint, find_root, find_signed_tree
from yoq_audit.tlog.hashes import EMPTY_ROOT
from yoq_audit.tlog.note import Signer, Verifier
from yoq_web import advisory_lock, current_settings, db, unit_of_work

ROTATION = "audit_key_rotate"
"""The action of the entry that announces a key; its target is the key."""

HEAD_MISSING = (
    f"{keys.HEAD_FILE} is missing, without which a log that was cut off would not be noticed; put it back, or if the "
    "log is whole as far as you know, run: yoq-web audit accept-head"
)

KEY_MISSING = (
    f"{keys.KEY_FILE} is missing on a machine that has sealed the log, without which it is not sealed any more; put it "
    f"back, with {keys.HEAD_FILE}"
)


class Rewound(Exception):
    """The database's tree is not an extension of the head kept outside it: nothing may be signed."""


class HeadMissing(Exception):
    """The head kept outside the database is gone: a database that was cut back would not be noticed."""


class CannotSign(Exception):
    """This machine's key is not the one that signs the log now, if it ever was."""


def check_head(session: Session, chain: KeyChain) -> None:
    """Raise Rewound unless the database's tree is an extension of the head kept outside, HeadMissing without one.

    Raises LogError if its newest checkpoint is not signed by a key of the log.
    """
    head = keys.read_head(chain.keys)
    if head is None:
        if find_signed_tree(session) is not None:
            raise HeadMissing(HEAD_MISSING)
        return
    newest = find_newest_checkpoint(session)
    size = newest.size if newest else 0
    if size < head.size:
        raise Rewound(f"the log has {size} sealed entries, but {head.size} were sealed according to {keys.HEAD_FILE}")
    known = bytes(newest.root) if newest and size == head.size else find_root(session, head.size)
    if known != head.root:
        raise Rewound(f"the first {head.size} sealed entries are not those that {keys.HEAD_FILE} was signed for")
    if newest is not None and newest.note is not None:
        check_note(newest, chain.keys)


@dataclass(frozen=True)
class SigningTurn:
    """The key that signs now, on this machine, and the chain of keys that it belongs to."""

    key: Signer
    chain: KeyChain
    promoted: bool = False
    """Whether the key is still the next one, whose turn has come."""
    following: Signer | None = None
    """The key that follows, if this one signs for the last time: for the tree that holds the announcement."""


def ensure_first_key() -> None:
    """Make the log's first key known if there is none yet: the first machine that looks whether to seal makes it."""
    anybody = select(LogKey.vkey).limit(1)
    if db.session.scalar(anybody) is not None:
        return
    with keys.lock_keys():
        db.session.rollback()
        if db.session.scalar(anybody) is not None:
            return
        key = keys.read_signer() or keys.read_next_signer()
        if key is None:
            key = Signer.generate(current_settings()[LOG_ORIGIN])
            keys.write_next(key)
        with unit_of_work() as session:
            lock_sealing(session)
            if session.scalar(anybody) is None:
                if session.scalar(select(CHECKPOINTS.c.size).limit(1)) is not None:
                    raise Rewound("the log is there, but none of its keys")
                session.execute(insert(LogKey).values(vkey=key.vkey, added_at=int(time.time())))
            known = set(session.scalars(select(LogKey.vkey)))
        if key.vkey not in known and keys.read_signer() is None:
            keys.drop_next()  # another machine came first


def take_turn(session: Session) -> SigningTurn | None:
    """Find out who signs now, alone among all processes until the transaction ends.

    The next key is put in its place first. None on a machine that has no key. Raises CannotSign.
    """
    lock_sealing(session)
    turn = _find_turn(session)
    if turn is not None and turn.promoted:
        if find_signed_tree(session) is None:
            # From the very beginning there is a head: where it is missing later, somebody took it away.
            keys.keep_head(keys.sign_checkpoint(0, EMPTY_ROOT, turn.key), 0, turn.chain.keys)
        keys.promote_next()
    return turn


def retire_replaced_key() -> None:
    """Set the key and the head aside of a log that gave way to one that begins with the next key, if so."""
    if not keys.is_replaced():
        return
    with unit_of_work() as session:
        # What was just read may be half of what another process does, who puts the next key in its place.
        lock_sealing(session)
        if keys.is_replaced():
            keys.set_replaced_aside()


def _find_turn(session: Session) -> SigningTurn | None:
    """Find out who may sign now; None on a machine that has no key. Raises CannotSign."""
    own, following = keys.read_signer(), keys.read_next_signer()
    if own is None and following is None:
        if is_key_lost(session):
            raise CannotSign(KEY_MISSING)
        return None
    chain = keys.read_chain(session, own)
    if not chain.keys:
        return None
    newest = chain.keys[-1]
    if own is None:
        first = following is not None and chain.keys == (following.verifier,)
        return SigningTurn(following, chain, promoted=True) if first and following else None
    if chain.missing == own.verifier:
        raise CannotSign(f"{keys.KEY_FILE} is not the log's key; if this machine never sealed the log, remove it")
    if chain.forked:
        raise CannotSign("two keys claim to follow the log's last one")
    if own.verifier == newest:
        return SigningTurn(own, chain)
    if own.verifier != chain.keys[-2] or is_announcement_signed(session, newest):
        if following is not None and following.verifier == newest:
            return SigningTurn(following, chain, promoted=True)
        raise CannotSign(
            f"{keys.KEY_FILE} was replaced by {newest.name}+{newest.key_id.hex()}: "
            f"copy {keys.KEY_FILE} and {keys.HEAD_FILE} from the machine that has it"
        )
    # The old key signs once more: for the tree that holds the announcement of the new one, which signs it too.
    return SigningTurn(own, chain, following=following if following and following.verifier == newest else None)


def list_signers(session: Session, turn: SigningTurn, size: int) -> list[Signer]:
    """List the keys that sign a size: one, but for the first tree that holds a new key's announcement, which both sign.

    So who knows the old key only finds a checkpoint that he can open and that has the new one.
    """
    if turn.following is None:
        return [turn.key]
    place = find_announcement(session, turn.following.verifier)
    return [turn.key] if place is None or place >= size else [turn.key, turn.following]


def sign_empty_tree() -> SignedTree | None:
    """Sign the size 0, which every log had; None on a machine that does not have its key. Raises CannotSign."""
    turn = find_turn()
    return None if turn is None else SignedTree(0, EMPTY_ROOT, keys.sign_checkpoint(0, EMPTY_ROOT, turn.key))


def is_key_lost(session: Session) -> bool:
    """Tell whether this machine has no key although the log in the database was sealed here."""
    here = keys.read_signer() or keys.read_next_signer()
    return here is None and bool(keys.read_vkeys(session)) and keys.has_sealed()


def find_turn() -> SigningTurn | None:
    """Find out who may sign now. Before CannotSign is raised, what another process is about to do is awaited."""
    try:
        return _find_turn(db.session())
    except CannotSign:
        with unit_of_work() as session:
            return take_turn(session)


def find_newest_key(session: Session, own: Signer) -> Verifier:
    """Return the last key of the chain that a machine's key belongs to. Raises CannotSign if it belongs to none."""
    chain = keys.read_chain(session, own)
    if chain.forked or chain.missing == own.verifier:
        raise CannotSign(f"{keys.KEY_FILE} is not the log's key")
    return chain.keys[-1]


def find_announcement(session: Session, key: Verifier) -> int | None:
    """Find the place of the entry that announces a key; None if it has none yet."""
    place: int | None = session.scalar(
        select(func.min(LEAVES.c.leaf_index))
        .join(ENTRIES, ENTRIES.c.id == LEAVES.c.entry_id)
        .where(ENTRIES.c.action == ROTATION, ENTRIES.c.outcome == "ok", ENTRIES.c.target == key.vkey)
    )
    return place


def is_announcement_signed(session: Session, key: Verifier) -> bool:
    """Tell whether the entry that announces a key is in the tree of a signed checkpoint."""
    place = find_announcement(session, key)
    newest = find_signed_tree(session)
    return place is not None and newest is not None and newest.size > place


def lock_sealing(session: Session) -> None:
    """Be the only one of all machines that seals, or changes a key, until the transaction ends."""
    advisory_lock(session, "log sealing")
