"""The keyring: the data keys that this process has unwrapped, and which one the database says is in use."""

from __future__ import annotations

import functools
import os
import time
from typing import Any, cast

from sqlalchemy import Executable, Table, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from yoq_web.app_local import AppLocal
from yoq_web.database.locks import advisory_lock
from yoq_web.problems import Problem
from yoq_web.secrets.keys.encryption import KEY_BYTES, Cipher
from yoq_web.secrets.keys.masters import check_master, choose_wrapper, is_kept, unwrap_key
from yoq_web.secrets.models import Secret, SecretKey

SECRETS = cast("Table", Secret.__table__)
STORED = ("name", "key_id", "nonce", "ciphertext", "created_at", "updated_at")
REPLACED = ("key_id", "nonce", "ciphertext", "updated_at")


class Keyring:
    """Unwraps each data key once. What it keeps is never relied on alone: each use asks the database as well."""

    def __init__(self) -> None:
        self._ciphers: dict[str, Cipher] = {}
        self._newest: tuple[str, str] | None = None
        """The newest data key and the master key that wrapped it, by their ids."""

    def find_cipher(self, session: Session, key_id: str) -> Cipher | None:
        """Find the cipher of a stored data key; None if there is no such key. Raises a Problem if it does not open."""
        if key_id not in self._ciphers:
            row = session.scalar(select(SecretKey).where(SecretKey.id == key_id))
            if row is None:
                return None
            self._keep(session, row)
        return self._ciphers[key_id]

    def find_newest(self, session: Session) -> Cipher:
        """Find the cipher to encrypt with; the first one is made. Its key stays while the transaction lasts.

        Raises a Problem.
        """
        for _ in range(3):  # the key may be dropped between the look for it and its lock
            row = session.scalar(_select_newest().with_for_update(read=True, key_share=True))
            if row is not None:
                if row.id not in self._ciphers or row.wrapped is None or not is_kept(row.master):
                    self._keep(session, row)
                self._newest = row.id, row.master  # only now: another thread looks for its cipher at once
                return self._ciphers[row.id]
            self._make_first(session)
        raise Problem(503, "the secrets key is being changed", "try again", {"Retry-After": "1"})

    def store(self, session: Session, name: str, value: str) -> int:
        """Store a secret under the newest key, in one statement if this process knows that; returns its version.

        Raises a Problem.
        """
        newest = self._newest
        # What is encrypted while the master key is away could not be read again by the next process.
        cipher = self._ciphers[newest[0]] if newest and is_kept(newest[1]) else self.find_newest(session)
        for _ in range(3):
            nonce, ciphertext = cipher.encrypt(name, value)
            now = int(time.time())
            row = dict(zip(STORED, (name, cipher.key_id, nonce, ciphertext, now, now), strict=True))
            version: int | None = session.scalar(_make_store_statement(session.get_bind().dialect.name), row)
            if version is not None:
                return version
            cipher = self.find_newest(session)
        raise Problem(503, "the secrets key is being changed", "try again", {"Retry-After": "1"})

    def add(self, session: Session) -> str:
        """Make a new data key, from now on the newest. Returns its id. Raises a Problem."""
        self.find_newest(session)  # under a master key that does not open what is there none is made
        lock_keys(session)
        return self._add(session, session.scalar(_select_newest().with_only_columns(SecretKey.master)))

    def _make_first(self, session: Session) -> None:
        lock_keys(session)
        # Another machine may have made it meanwhile.
        if session.scalar(_select_newest().with_only_columns(SecretKey.id)) is None:
            self._add(session, None)

    def _add(self, session: Session, current: str | None) -> str:
        key = os.urandom(KEY_BYTES)
        wrapper, cipher = choose_wrapper(current), Cipher(key)
        values = {"id": cipher.key_id, "master": wrapper.name, "wrapped": wrapper.wrap(key)}
        session.execute(insert(SecretKey).values(values | {"created_at": int(time.time())}))
        self._ciphers[cipher.key_id] = cipher
        return cipher.key_id

    def _keep(self, session: Session, row: SecretKey) -> None:
        key = unwrap_key(row)
        if row.wrapped is None:
            wrapper = choose_wrapper(row.master)
            change = {"master": wrapper.name, "wrapped": wrapper.wrap(key)}
            session.execute(update(SecretKey).where(SecretKey.id == row.id, SecretKey.wrapped.is_(None)).values(change))
        self._ciphers[row.id] = Cipher(key)


current_keyring: AppLocal[Keyring] = AppLocal("keyring", lambda _app: Keyring())


def find_key_problem(session: Session) -> str | None:
    """Say what is wrong with the master key of the newest data key, if anything is, in a few words for anybody."""
    newest = session.execute(_select_newest().with_only_columns(SecretKey.master, SecretKey.id)).one_or_none()
    try:
        if newest is not None:
            check_master(*newest)
    except Problem as problem:
        return problem.error
    return None


def lock_keys(session: Session) -> None:
    """Make no key, and wrap none anew, while another machine does, until the transaction ends."""
    advisory_lock(session, "secrets keys")


def _select_newest() -> Any:
    return select(SecretKey).order_by(SecretKey.number.desc()).limit(1)


@functools.cache
def _make_store_statement(dialect: str) -> Executable:
    """Insert or replace a secret if the key that it is encrypted with is still the newest; returns its version then."""
    # On PostgreSQL the key is locked first: it cannot be dropped before this transaction ends.
    newest = (
        select(SecretKey.id)
        .order_by(SecretKey.number.desc())
        .limit(1)
        .with_for_update(read=True, key_share=True)
        .subquery("newest")
    )
    given = [bindparam(column, type_=SECRETS.c[column].type) for column in STORED]
    source = select(*given).select_from(newest).where(newest.c.id == bindparam("key_id"))
    statement: sqlite.Insert | postgresql.Insert
    statement = sqlite.insert(SECRETS) if dialect == "sqlite" else postgresql.insert(SECRETS)
    statement = statement.from_select(list(STORED), source)
    replaced = {column: statement.excluded[column] for column in REPLACED} | {"version": SECRETS.c.version + 1}
    return statement.on_conflict_do_update(index_elements=["name"], set_=replaced).returning(SECRETS.c.version)
