"""The key of a data directory, and the codes (HMAC) that tell what was written with it from what was not."""

from __future__ import annotations

import hmac
import json
import os
import re
from contextlib import suppress
from pathlib import Path

from yoq_web import files
from yoq_web.settings import SettingsError

KEY_FILE = "spool.key"
KEY_BYTES = 32

INTENTS, INTENT = "intents", "intent"
"""The folder of documents that are signed each for itself, and what for."""

CODE = re.compile(rb'(\{.+),"mac":"([0-9a-f]{32})"\}', re.DOTALL)
"""An object with its code as its last member: 128 bits of HMAC-SHA256 over the object without it."""


class MacKey:
    """The key. What is signed for one purpose is not good for another."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: dict[str, bytes] = {}

    @classmethod
    def generate(cls) -> MacKey:
        """Make a new key, which is in no file yet."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def read(cls, folder: Path) -> MacKey | None:
        """Read the key of a data directory; None if it has none. Raises SettingsError if others know or made it."""
        path = folder / KEY_FILE
        secret = files.read_if_there(path)
        if secret is None:
            return None
        if not files.is_ours(path):
            raise SettingsError(f"{path} belongs to another user, who put it there")
        return cls(secret)

    def store(self, folder: Path) -> None:
        """Make this the key of a data directory that has none. Raises OSError."""
        files.create(folder / KEY_FILE, self._secret)

    def sign_earlier(self, folder: Path) -> None:
        """Sign the intents that an earlier version left. Where they are: whoever is at work on one has it locked."""
        for path in (folder / INTENTS).glob("*.json"):
            with suppress(OSError, ValueError):
                document = path.read_text()
                if isinstance(json.loads(document), dict) and files.is_ours(path):
                    with path.open("r+") as file:
                        file.write(self.sign(INTENT, document))
                        file.flush()
                        os.fsync(file.fileno())

    def sign(self, purpose: str, document: str) -> str:
        """Return a JSON object with its code added, as the member `mac`."""
        return f'{document[:-1]},"mac":"{self._compute(purpose, document.encode())}"}}'

    def verify(self, purpose: str, signed: bytes) -> str | None:
        """Return the code of a JSON object that was signed with this key; None if it was not, or altered since."""
        parts = CODE.fullmatch(signed)
        if parts is None or not hmac.compare_digest(self._compute(purpose, parts[1] + b"}").encode(), parts[2]):
            return None
        return parts[2].decode()

    def _compute(self, purpose: str, document: bytes) -> str:
        if purpose not in self._keys:
            self._keys[purpose] = hmac.digest(self._secret, f"yoq-web {purpose}".encode(), "sha256")
        return hmac.digest(self._keys[purpose], document, "sha256").hex()[:32]
