"""A log that gave way to another one: its key and its head are set aside, since it will never be signed again."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.sealing import keys
from yoq_audit.storage.models import LogKey
from yoq_audit.tlog.note import Signer
from yoq_web import SettingsError, current_settings, db

SET_ASIDE = ".of-"
"""The key and the head of a log that ended are kept under their names, this and the key's id."""


def end_replaced_log() -> None:
    """Set the key and the head aside of a log that gave way to one that begins with the next key."""
    own, following = keys.signer(), keys.next_signer()
    if following is None:
        return
    if vkeys(db.session()) != [following.vkey] or (own is not None and own.vkey == following.vkey):
        return
    folder = current_settings().data_dir
    suffix = f"{SET_ASIDE}{own.verifier.key_id.hex() if own else 'unknown'}"
    for name in (keys.HEAD_FILE, keys.KEY_FILE):
        path = folder / name
        if path.exists() and not (name == keys.HEAD_FILE and _is_head_of(following)):
            path.replace(path.with_name(name + suffix))


def _is_head_of(key: Signer) -> bool:
    try:
        return keys.read_head([key.verifier]) is not None
    except SettingsError:
        return False


def vkeys(session: Session) -> list[str]:
    """The keys that a database has for the log's, the oldest first."""
    return list(session.scalars(select(LogKey.vkey).order_by(LogKey.added_at, LogKey.vkey)))
