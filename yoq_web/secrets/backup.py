"""The secrets in backups: they are of use only with the master key that wraps their data keys."""

from __future__ import annotations

from yoq_web import files
from yoq_web.contributions.keeper import Keeper
from yoq_web.secrets.keys.encryption import compute_key_id
from yoq_web.secrets.keys.masters import KEY_FILE, find_kept_file, find_key_file


class SecretsKeeper(Keeper):
    """Names the master key's file, and those of master keys before it."""

    files = (KEY_FILE, f"{KEY_FILE}.*")

    def put_back(self, name: str, content: bytes) -> bool:
        """Put back a master key; where there is another by now, it is kept beside that one, under its id."""
        if name != KEY_FILE or not find_key_file().exists() or find_key_file().read_bytes() == content:
            return super().put_back(name, content)
        path = find_kept_file(compute_key_id(content))
        return not path.exists() and files.read_or_create(path, lambda: content) == content
