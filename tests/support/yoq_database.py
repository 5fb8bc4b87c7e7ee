"""A database as yoq makes it, with its own schema and its own encryption, for the tests of the import.

The statements are those of https://github.com/kacy/yoq at 90ffc9a520fb, version 0.2.0: src/state/schema/tables.zig,
migrations.zig and indexes.zig, of the tables that matter here; the encryption is that of src/state/secrets/.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from yoq_web.yoq_import.encryption import derive_subkey

KEY = bytes(range(100, 132))

SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, rootfs TEXT NOT NULL, command TEXT NOT NULL, hostname TEXT NOT NULL DEFAULT 'container',
    status TEXT NOT NULL DEFAULT 'created', pid INTEGER, exit_code INTEGER, ip_address TEXT, veth_host TEXT,
    app_name TEXT, created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS deployments (
    id TEXT PRIMARY KEY, app_name TEXT, service_name TEXT NOT NULL, trigger TEXT NOT NULL DEFAULT 'apply',
    source_release_id TEXT, resumed_from_release_id TEXT, superseded_by_release_id TEXT, manifest_hash TEXT NOT NULL,
    config_snapshot TEXT NOT NULL DEFAULT '', completed_targets INTEGER NOT NULL DEFAULT 0,
    failed_targets INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT 'pending', message TEXT,
    failure_details_json TEXT, rollout_targets_json TEXT, rollout_checkpoint_json TEXT,
    rollout_control_state TEXT NOT NULL DEFAULT 'active', created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS secrets (
    name TEXT PRIMARY KEY,
    encrypted_value BLOB NOT NULL,
    nonce BLOB NOT NULL,
    tag BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS network_policies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source_service TEXT NOT NULL,
    target_service TEXT NOT NULL,
    action TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS certificates (
    domain TEXT PRIMARY KEY, cert_pem BLOB NOT NULL, encrypted_key BLOB NOT NULL, key_nonce BLOB NOT NULL,
    key_tag BLOB NOT NULL, not_after INTEGER NOT NULL, source TEXT NOT NULL DEFAULT 'manual',
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, recorded_at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    target TEXT, outcome TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tokens (
    name TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS idx_network_policies_pair ON network_policies (source_service, target_service);
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
"""


def encrypt(value: bytes, key: bytes = KEY) -> tuple[bytes, bytes, bytes]:
    """Encrypt a value as yoq does; returns ciphertext, nonce and tag."""
    nonce = os.urandom(24)
    sealed = ChaCha20Poly1305(derive_subkey(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], value, None)
    return sealed[:-16], nonce, sealed[-16:]


class YoqDatabase:
    """yoq's data directory: `yoq.db`, and `secrets.key` beside it.."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "yoq.db"
        self.key = folder / "secrets.key"
        self.key.write_bytes(KEY)
        self.key.chmod(0o600)
        self.run(*filter(str.strip, SCHEMA.split(";")))

    def run(self, *statements: str, values: tuple[object, ...] = ()) -> None:
        """Run statements, the values being the last one's, and close the database, as a command of yoq does."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for number, statement in enumerate(statements):
                connection.execute(statement, values if number == len(statements) - 1 else ())

    def set_secret(self, name: str, value: bytes, key: bytes = KEY) -> None:
        """Do `yoq secret set`."""
        row = (name, *encrypt(value, key), 1000, 1000)
        self.run("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?, ?, ?)", values=row)

    def add_policy(self, source: str, target: str, action: str, created_at: int = 1000) -> None:
        """Do `yoq policy allow` or `deny`."""
        columns = "(source_service, target_service, action, created_at)"
        row = (source, target, action, created_at)
        self.run(f"INSERT OR REPLACE INTO network_policies {columns} VALUES (?, ?, ?, ?)", values=row)

    def create_token(self, name: str, scopes: str, **times: int) -> str:
        """Do `yoq token create`, which keeps the SHA-256 of the text that this returns."""
        text = hashlib.sha256(name.encode()).hexdigest()
        digest = hashlib.sha256(text.encode()).hexdigest()
        row = (name, digest, scopes, 1000, times.get("expires_at"), times.get("revoked_at"))
        self.run("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)", values=row)
        return text

    def read(self) -> dict[str, bytes]:
        """Every file of the data directory."""
        return {path.name: path.read_bytes() for path in sorted(self.path.parent.iterdir())}
