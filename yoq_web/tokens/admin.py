"""The admin token: given in YOQ_API_TOKEN, or kept in the data directory and made at the first start."""

from __future__ import annotations

import functools
import secrets
from pathlib import Path

from yoq_web import files
from yoq_web.settings import TOKEN_FORM, Settings, SettingsError

FILE = "api_token"


def load_admin_token(settings: Settings) -> str:
    """Load the admin token; its file is made if it is missing. Raises SettingsError if the file cannot be used."""
    return settings.api_token or _load_kept(settings.data_dir / FILE)


def is_first_start(settings: Settings) -> bool:
    """Tell whether the admin token is still to be made."""
    return settings.api_token is None and not (settings.data_dir / FILE).exists()


@functools.cache
def _load_kept(path: Path) -> str:
    # yoq's CLI reads the first 64 bytes and so do we; an editor's trailing newline does no harm.
    text = files.read_or_create(path, lambda: secrets.token_hex(32).encode())[:64].decode("ascii", "replace")
    if not TOKEN_FORM.fullmatch(text):
        raise SettingsError(f"{path} must begin with 64 lower-case hexadecimal characters; remove it to have one made")
    return text
