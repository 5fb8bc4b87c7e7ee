"""What was signed, altered: checkpoints, keys and the head are held against the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask

from tests.support.door import behind
from tests.support.tampering import (
    attack,
    format_bytes,
    list_findings,
    make_log,
)
from yoq_audit.sealing import keys
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer, sign
from yoq_web.files import replace


def rows(app: Flask, url: str) -> tuple[Signer, dict[str, Any]]:
    """The log's key and its newest checkpoint."""
    with app.app_context():
        key = keys.read_signer()
    assert key is not None
    return key, behind(url, "SELECT size, root, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1")[0]


def test_an_unknown_key(app: Flask, database_url: str) -> None:
    """A checkpoint that somebody else signed is told, also if their key is put into the database."""
    make_log(app, 5, 5)
    key, newest = rows(app, database_url)
    forger = Signer.generate(key.name)
    note = sign(Checkpoint(key.name, 10, bytes(newest["root"])).text, forger)
    attack(database_url, f"UPDATE audit_checkpoint SET note = '{note}' WHERE size = 10")
    assert list_findings(app, "kind", "message") == [("key", "checkpoint of size 10 signed by an unknown key")]
    attack(database_url, f"INSERT INTO audit_key (vkey, added_at) VALUES ('{forger.vkey}', 1)")
    foreign = f"the key {key.name}+{forger.verifier.key_id.hex()} in the database is not this log's"
    assert list_findings(app, "kind", "message") == [
        ("key", foreign),
        ("key", "checkpoint of size 10 signed by an unknown key"),
    ]


def test_an_altered_checkpoint(app: Flask, database_url: str) -> None:
    """A checkpoint with another root, a wrong signature or none any more is named by its size."""
    make_log(app, 5, 5, 5, 5)
    attack(
        database_url,
        f"UPDATE audit_checkpoint SET root = {format_bytes(database_url, bytes(32))} WHERE size = 5",
        "UPDATE audit_checkpoint SET note = NULL WHERE size = 10",
        "UPDATE audit_checkpoint SET note = (SELECT note FROM audit_checkpoint WHERE size = 20) WHERE size = 15",
    )
    assert list_findings(app, "kind", "size") == [("checkpoint", 5), ("checkpoint", 10), ("checkpoint", 15)]


def test_a_fork(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Two roots signed for one size: in the database beside the tree, or in the head outside."""
    make_log(app, 5, 5)
    key, _ = rows(app, database_url)
    other = sign(Checkpoint(key.name, 5, b"x" * 32).text, key)
    root = format_bytes(database_url, b"x" * 32)
    attack(database_url, f"UPDATE audit_checkpoint SET root = {root}, note = '{other}' WHERE size = 5")
    assert list_findings(app, "kind", "size") == [("fork", 5)]
    replace(tmp_path / "log.head", sign(Checkpoint(key.name, 10, b"y" * 32).text, key).encode())
    assert list_findings(app, "kind", "size") == [("fork", 5), ("fork", 10)]


def test_a_broken_head(app: Flask, tmp_path: Path) -> None:
    """A head that nobody of this log signed vouches for nothing, and is told."""
    make_log(app, 5)
    replace(tmp_path / "log.head", b"nonsense\n")
    assert list_findings(app, "kind") == [("head",)]
