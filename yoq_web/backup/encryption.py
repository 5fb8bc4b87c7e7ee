"""With what backups are encrypted and decrypted: recipients, a passphrase, or the key of the data directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yoq_web import files
from yoq_web.backup import age
from yoq_web.backup.age import Transform
from yoq_web.backup.streams import copy_unchanged
from yoq_web.problems import Problem
from yoq_web.settings import Settings, SettingsError

KEY_FILE = "backup.key"
HEAD_BYTES = 512


def load_own_identity(settings: Settings) -> str:
    """Load the identity of the data directory, which is made at the first backup. Raises a Problem."""
    path = settings.data_dir / KEY_FILE
    try:
        return files.read_or_create(path, lambda: age.make_identity().encode()).decode("utf-8", "replace")
    except SettingsError as error:
        said = "the backup key cannot be used"
        raise Problem(500, said, str(error), reason=f"{said}: {error}") from None


def choose_encryption(
    settings: Settings, recipients: Sequence[str], passphrase: str | None, *, plain: bool
) -> Transform:
    """Choose how a new backup is encrypted. Raises a Problem for a recipient that is none."""
    if plain:
        return copy_unchanged
    if passphrase is not None:
        return age.encrypt_with_passphrase(passphrase)
    try:
        return age.encrypt_to_recipients(*(recipients or [age.derive_recipient(load_own_identity(settings))]))
    except ValueError as error:
        raise Problem(400, "invalid recipient", str(error)) from None


def choose_decryption(settings: Settings, path: Path, identity: Path | None, passphrase: str | None) -> Transform:
    """Choose how a backup file is decrypted. Raises a Problem if it is none or lacks what opens it, and OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(age.VERSION):
        if head[257:262] != b"ustar":
            raise Problem(422, "the backup cannot be opened", "it is not a backup of yoq-web")
        return copy_unchanged
    if age.needs_passphrase(head):
        if passphrase is None:
            raise Problem(422, "the backup cannot be opened", "it is sealed with a passphrase: give --passphrase-file")
        return age.decrypt_with_passphrase(passphrase)
    try:
        text = identity.read_text(errors="replace") if identity else _find_own_identity(settings)
        return age.decrypt_with_identities(text)
    except ValueError as error:
        raise Problem(400, "invalid identity file", str(error)) from None


def _find_own_identity(settings: Settings) -> str:
    path = settings.data_dir / KEY_FILE
    if not path.exists():
        said = f"it is encrypted and there is no {path}: give the key's file with --identity"
        raise Problem(422, "the backup cannot be opened", said)
    return load_own_identity(settings)
