"""The log's signing key and its head: files of the data directory, outside the database that they vouch for."""

from __future__ import annotations

from pathlib import Path

from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Signer
from yoq_web import files
from yoq_web.settings import Settings, SettingsError
from yoq_web.state import state

KEY_FILE = "log.key"
HEAD_FILE = "log.head"


def settings() -> Settings:
    """The current application's settings."""
    return state().settings


def signer() -> Signer | None:
    """This machine's signing key, or None if it has none."""
    path = settings().data_dir / KEY_FILE
    return _decoded(path, files.private(path, lambda: b"")) if path.exists() else None


def make_signer() -> Signer:
    """This machine's signing key, made if it is missing: the log begins here."""
    path = settings().data_dir / KEY_FILE
    return _decoded(path, files.private(path, lambda: Signer.generate(settings().log_origin).encode().encode()))


def _decoded(path: Path, content: bytes) -> Signer:
    try:
        return Signer.decode(content.decode("ascii", "replace").strip())
    except LogError as error:
        raise SettingsError(f"{path} is no signing key: {error}") from None


def read_head(key: Signer) -> Checkpoint | None:
    """The newest checkpoint that this machine has signed, or None. Raises SettingsError for another log's."""
    path = settings().data_dir / HEAD_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    try:
        return checkpoints.parse(notes.verify(text, [key.verifier]).text)
    except LogError as error:
        raise SettingsError(f"{path} is not a checkpoint of this log: {error}") from None


def keep_head(note: str, size: int, key: Signer) -> None:
    """Keep a signed checkpoint as the head, unless a newer one is kept already: the head never moves back."""
    with files.locked(settings().data_dir / f"{HEAD_FILE}.lock"):
        kept = read_head(key)
        if kept is None or kept.size < size:
            files.replace(settings().data_dir / HEAD_FILE, note.encode())


def checkpoint_note(size: int, root: bytes, key: Signer) -> str:
    """The signed checkpoint for a tree. Ed25519 gives the same signature each time."""
    return notes.sign(Checkpoint(key.name, size, root).body(), key)
