"""The log's signing key and its head: files of the data directory, outside the database that they vouch for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.sealing.key_chain import Chain, chain
from yoq_audit.storage.models import LogKey
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Signer, Verifier
from yoq_web import SettingsError, current_settings, files

KEY_FILE = "log.key"
NEXT_FILE = "log.key.next"
"""A key that does not sign yet: written before the database hears of it, it takes the other's place at last."""
HEAD_FILE = "log.head"

STORED = select(LogKey.vkey, LogKey.announcement).order_by(LogKey.added_at, LogKey.vkey)


def signer() -> Signer | None:
    """This machine's signing key, or None if it has none."""
    return _read(KEY_FILE)


def next_signer() -> Signer | None:
    """The key that is to take its place, or None."""
    return _read(NEXT_FILE)


@contextmanager
def changing() -> Iterator[None]:
    """Be the only process of this machine that makes a key of the log."""
    with files.lock(current_settings().data_dir / f"{KEY_FILE}.lock"):
        yield


def write_next(key: Signer) -> None:
    """Put a key where next_signer() finds it, in the place of one that never came to anything."""
    files.replace(current_settings().data_dir / NEXT_FILE, key.encode().encode())


def drop_next() -> None:
    """Forget the key of next_signer()."""
    (current_settings().data_dir / NEXT_FILE).unlink(missing_ok=True)


def promote_next() -> None:
    """Put the next key in the place of this machine's key, of which nothing is kept: it never signs again."""
    key = next_signer()
    if key is not None:
        files.replace(current_settings().data_dir / KEY_FILE, key.encode().encode())
        drop_next()


def stored_chain(session: Session, own: Signer | None) -> Chain:
    """The log's keys as the database has them, as far as a machine that has the key `own` is to believe it."""
    rows = session.execute(STORED).all()
    return chain(rows, own.verifier if own else None) if rows else Chain()


def _read(name: str) -> Signer | None:
    path = current_settings().data_dir / name
    content = files.read_if_there(path)
    return None if content is None else _decoded(path, content)


def _decoded(path: Path, content: bytes) -> Signer:
    try:
        return Signer.decode(content.decode("ascii", "replace").strip())
    except LogError as error:
        raise SettingsError(f"{path} is no signing key: {error}") from None


def read_head(known: Sequence[Verifier]) -> Checkpoint | None:
    """The newest checkpoint that this machine has signed, or None. Raises SettingsError for another log's."""
    path = current_settings().data_dir / HEAD_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    try:
        return checkpoints.parse(notes.verify(text, known).text)
    except LogError as error:
        raise SettingsError(f"{path} is not a checkpoint of this log: {error}") from None


def keep_head(note: str, size: int, known: Sequence[Verifier]) -> None:
    """Keep a signed checkpoint as the head, unless a newer one is kept already: the head never moves back."""
    with files.lock(current_settings().data_dir / f"{HEAD_FILE}.lock"):
        kept = read_head(known)
        if kept is None or kept.size < size:
            files.replace(current_settings().data_dir / HEAD_FILE, note.encode())


def checkpoint_note(size: int, root: bytes, key: Signer) -> str:
    """The signed checkpoint for a tree. Ed25519 gives the same signature each time."""
    return notes.sign(Checkpoint(key.name, size, root).text, key)
