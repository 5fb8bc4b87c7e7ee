"""The log's signing key and its head: files of the data directory, outside the database that they vouch for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

from yoq_audit.sealing.key_chain import KeyChain, link_keys
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Signer, Verifier
from yoq_web import SettingsError, current_settings, db, files

KEY_FILE = "log.key"
NEXT_FILE = "log.key.next"
"""A key that does not sign yet: written before the database hears of it, it takes the other's place at last."""
HEAD_FILE = "log.head"

ENDED = ".of-"
"""The key and the head of a log that ended are kept under their names, this and the key's id."""

STORED_KEYS = "SELECT vkey, announcement FROM audit_key ORDER BY added_at, vkey"
"""The keys that a database has for the log's, the oldest first, each with the note that announced it."""


def read_signer() -> Signer | None:
    """Read this machine's signing key; None if it has none."""
    return _read_signer(KEY_FILE)


def read_next_signer() -> Signer | None:
    """Read the key that is to take its place, or None."""
    return _read_signer(NEXT_FILE)


@contextmanager
def lock_keys() -> Iterator[None]:
    """Be the only process of this machine that makes a key of the log."""
    with files.lock(current_settings().data_dir / f"{KEY_FILE}.lock"):
        yield


def write_next(key: Signer) -> None:
    """Put a key where read_next_signer() finds it, in the place of one that never came to anything."""
    files.replace(current_settings().data_dir / NEXT_FILE, key.encode().encode())


def drop_next() -> None:
    """Forget the key of read_next_signer()."""
    (current_settings().data_dir / NEXT_FILE).unlink(missing_ok=True)


def promote_next() -> None:
    """Put the next key in the place of this machine's key, of which nothing is kept: it never signs again."""
    key = read_next_signer()
    if key is not None:
        files.replace(current_settings().data_dir / KEY_FILE, key.encode().encode())
        drop_next()


def read_chain(session: Session, own: Signer | None) -> KeyChain:
    """Read the log's keys from the database, as far as a machine that has the key `own` is to believe it."""
    rows = session.execute(text(STORED_KEYS)).all()
    return link_keys(rows, own.verifier if own else None) if rows else KeyChain()


def read_vkeys(session: Session) -> list[str]:
    """Read the keys that a database has for the log's, the oldest first, whether or not they are to be believed."""
    return [row.vkey for row in session.execute(text(STORED_KEYS))]


def _read_signer(name: str) -> Signer | None:
    path = current_settings().data_dir / name
    content = files.read_if_there(path)
    return None if content is None else _decode(path, content)


def _decode(path: Path, content: bytes) -> Signer:
    try:
        return Signer.decode(content.decode("ascii", "replace").strip())
    except LogError as error:
        raise SettingsError(f"{path} is no signing key: {error}") from None


def read_head(known: Sequence[Verifier]) -> Checkpoint | None:
    """Read the newest checkpoint that this machine has signed, or None. Raises SettingsError for another log's."""
    path = current_settings().data_dir / HEAD_FILE
    try:
        note = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    try:
        return checkpoints.parse(notes.verify(note, known).text)
    except LogError as error:
        raise SettingsError(f"{path} is not a checkpoint of this log: {error}") from None


def has_sealed() -> bool:
    """Tell whether this machine has kept a head, or has the database to itself, so that nobody else seals its log."""
    settings = current_settings()
    if settings.on_sqlite:
        database = make_url(settings.database_url).database
        if database and Path(database).absolute().parent == settings.data_dir.absolute():
            return True
    return any((settings.data_dir / name).exists() for name in (HEAD_FILE, f"{HEAD_FILE}.lock"))


def keep_head(note: str, size: int, known: Sequence[Verifier]) -> None:
    """Keep a signed checkpoint as the head, unless a newer one is kept already: the head never moves back."""
    with files.lock(current_settings().data_dir / f"{HEAD_FILE}.lock"):
        kept = read_head(known)
        if kept is None or kept.size < size:
            files.replace(current_settings().data_dir / HEAD_FILE, note.encode())


def sign_checkpoint(size: int, root: bytes, key: Signer, *further: Signer) -> str:
    """Make the signed checkpoint for a tree. Ed25519 gives the same signature each time."""
    return notes.sign(Checkpoint(key.name, size, root).text, key, *further)


def is_replaced() -> bool:
    """Tell whether the log of this machine's key gave way to one that begins with the next key."""
    own, following = read_signer(), read_next_signer()
    if following is None or (own is not None and own.vkey == following.vkey):
        return False
    return read_vkeys(db.session()) == [following.vkey]


def set_replaced_aside() -> None:
    """Set the key and the head aside of a log that gave way to another. That log will never be signed again."""
    own, following = read_signer(), read_next_signer()
    folder = current_settings().data_dir
    suffix = f"{ENDED}{own.verifier.key_id.hex() if own else 'unknown'}"
    for name in (HEAD_FILE, KEY_FILE):
        path = folder / name
        if path.exists() and not (name == HEAD_FILE and following is not None and _is_head_of(following)):
            path.replace(path.with_name(name + suffix))


def _is_head_of(key: Signer) -> bool:
    try:
        return read_head([key.verifier]) is not None
    except SettingsError:
        return False
