"""Changing keys: a new data key for all secrets, and a new master key for all data keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from yoq_web.commands.progress import ProgressCallback
from yoq_web.database.session import db, unit_of_work
from yoq_web.operations.operation import Operation
from yoq_web.problems import Problem
from yoq_web.secrets.keys import masters
from yoq_web.secrets.keys.keyring import current_keyring, lock_keys
from yoq_web.secrets.keys.masters import Place
from yoq_web.secrets.models import Secret, SecretKey

key_rotate = Operation(
    "key_rotate",
    "Encrypt all secrets with a new key",
    "*",
    details=("key", "dropped", "secrets", "unreadable"),
    external=True,
    activity="update",
)
key_rewrap = Operation(
    "key_rewrap", "Wrap the data keys with another master key", "*", details=("before", "after"), activity="update"
)

OPERATIONS = (key_rotate, key_rewrap)

BATCH = 100
"""Secrets encrypted in one transaction, which holds SQLite's write lock."""


@dataclass
class Rotation:
    """What a rotation did: the key in use, the keys that were dropped, and the names of secrets that do not open."""

    key: str
    resumed: bool = False
    secrets: int = 0
    dropped: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def rotate_keys(progress: ProgressCallback = lambda _done, _of: None) -> Rotation:
    """Make a new data key, encrypt every secret with it and drop the keys that nothing needs any more.

    A rotation that was interrupted is finished instead. Others may read and write all the while. A secret that cannot
    be decrypted is left as it is, with its key. Raises a Problem if the master key cannot be used.
    """
    with key_rotate.undertaken() as undertaking:
        done = _resume(progress) or _rotate(_make_key(), progress)
        undertaking.add(key=done.key, dropped=done.dropped, secrets=done.secrets, unreadable=len(done.unreadable))
    return done


def rewrap_keys(place: Place | None = None) -> tuple[set[str], str]:
    """Wrap every data key with the master key of `place`, by default the one that would wrap a new key.

    Returns which master keys were needed until now and which is now. Raises a Problem, and changes nothing, if one
    does not open.
    """
    before = db.session.scalars(select(SecretKey.master).order_by(SecretKey.number)).all()
    db.session.rollback()
    after = masters.choose_wrapper(before[-1] if before else None, place)
    with key_rewrap.performed(before=sorted(set(before)), after=after.name) as session:
        lock_keys(session)
        for row in session.scalars(select(SecretKey).with_for_update()).all():
            change = {"master": after.name, "wrapped": after.wrap(masters.unwrap_key(row))}
            session.execute(update(SecretKey).where(SecretKey.id == row.id).values(change))
    masters.promote(after.name)
    return set(before), after.name


@dataclass(frozen=True)
class StoredKey:
    """A data key as listed: its id, which master key wraps it, when it was made, how many secrets need it."""

    id: str
    master: str
    created_at: int
    secrets: int


def list_keys() -> list[StoredKey]:
    """List the data keys, the newest last."""
    needed = select(func.count()).where(Secret.key_id == SecretKey.id).scalar_subquery()
    columns = (SecretKey.id, SecretKey.master, SecretKey.created_at, needed)
    return [StoredKey(*row) for row in db.session.execute(select(*columns).order_by(SecretKey.number)).all()]


def _make_key() -> str:
    with unit_of_work() as session:
        return current_keyring().add(session)


def _resume(progress: ProgressCallback) -> Rotation | None:
    """Finish a rotation that was interrupted; None if there is none, or nothing that could be done."""
    ids = db.session.scalars(select(SecretKey.id).order_by(SecretKey.number)).all()
    db.session.rollback()
    if len(ids) < 2:
        return None
    done = _rotate(ids[-1], progress, resumed=True)
    return done if done.secrets or done.dropped else None


def _rotate(key_id: str, progress: ProgressCallback, *, resumed: bool = False) -> Rotation:
    done = Rotation(key_id, resumed)
    total = db.session.scalar(select(func.count()).select_from(Secret).where(Secret.key_id != key_id)) or 0
    while True:
        unreadable: list[str] = []
        moved = 0
        after: str | None = ""
        while after is not None:
            with unit_of_work() as session:
                count, after = _encrypt_batch(session, after, unreadable)
            moved += count
            progress(min(done.secrets + moved, total), total)
        done.secrets += moved
        done.unreadable = unreadable
        with unit_of_work() as session:
            dropped, waiting = _drop_keys(session, unreadable)
        done.dropped += dropped
        if not waiting:
            return done


def _encrypt_batch(session: Session, after: str, unreadable: list[str]) -> tuple[int, str | None]:
    """Encrypt the next secrets with the newest key; returns how many, and the last one's name unless it was the end."""
    ring = current_keyring()
    newest = ring.find_newest(session)
    query = select(Secret).where(Secret.key_id != newest.key_id, Secret.name > after).order_by(Secret.name).limit(BATCH)
    # Whoever sets one of them meanwhile waits, and what he sets stays.
    rows = session.scalars(query.with_for_update().execution_options(populate_existing=True)).all()
    changes = []
    for row in rows:
        try:
            cipher = ring.find_cipher(session, row.key_id)
            value = cipher.decrypt(row) if cipher else None
        except Problem as problem:
            if problem.error != "the secret cannot be decrypted":
                raise
            value = None
        if value is None:
            unreadable.append(row.name)
            continue
        nonce, ciphertext = newest.encrypt(row.name, value)
        changes.append({"name": row.name, "key_id": newest.key_id, "nonce": nonce, "ciphertext": ciphertext})
    if changes:
        session.execute(update(Secret), changes)
    return len(changes), rows[-1].name if len(rows) == BATCH else None


def _drop_keys(session: Session, unreadable: list[str]) -> tuple[list[str], bool]:
    """Drop the older keys that nothing needs; returns them, and whether another one is needed by what can be read."""
    dropped, waiting = [], False
    numbers = session.execute(select(SecretKey.number, SecretKey.id).order_by(SecretKey.number)).all()
    for number, key_id in numbers[:-1]:
        # The lock waits for everybody who is about to store a secret under this key.
        session.execute(select(SecretKey.id).where(SecretKey.number == number).with_for_update())
        needed = session.scalars(select(Secret.name).where(Secret.key_id == key_id).limit(len(unreadable) + 1)).all()
        if not needed:
            session.execute(delete(SecretKey).where(SecretKey.number == number))
            dropped.append(key_id)
        waiting = waiting or not set(needed) <= set(unreadable)
    return dropped, waiting
