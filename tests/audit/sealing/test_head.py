"""The head kept outside the database: there from the beginning, it never moves back, and is missed when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import failure, output
from tests.support.door import behind
from tests.support.faults import Injected
from tests.support.log_keys import LOG, list_signers, read_health
from tests.support.tampering import add_entries, attack, format_bytes, list_findings, make_log, seal, verify_log
from yoq_audit.sealing import keys


def test_a_log_has_a_head_from_its_beginning(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the first signature and the first head is no missing head; nor is a key that waits a lost one."""

    def fail(*_arguments: object) -> None:
        raise Injected

    add_entries(app, 2)
    for place in ("promote_next", "keep_head"):
        with monkeypatch.context() as patch:
            patch.setattr(keys, place, fail)
            with pytest.raises(Injected):
                seal(app)
    make_log(app, 1)
    assert not (tmp_path / keys.NEXT_FILE).exists()
    assert read_health(app) is None
    assert verify_log(app)["size"] == 3


def test_the_head_never_moves_back(app: Flask, tmp_path: Path) -> None:
    """An older checkpoint does not take a newer one's place, and the files are private."""
    add_entries(app, 3)
    seal(app)
    head = (tmp_path / keys.HEAD_FILE).read_text()
    with app.app_context():
        key = keys.read_signer()
        assert key is not None
        keys.keep_head(keys.sign_checkpoint(1, b"x" * 32, key), 1, [key.verifier])
    assert (tmp_path / keys.HEAD_FILE).read_text() == head
    for name in (keys.HEAD_FILE, keys.KEY_FILE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_missing_head_is_told_and_can_be_taken_anew(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Without the head nothing is signed, verify and /health say so, until the log is verified and taken as it is."""
    make_log(app, 3)
    (tmp_path / keys.HEAD_FILE).unlink()
    assert "log.head is missing" in (read_health(app) or "")
    assert list_findings(app, "kind") == [("head",)]
    add_entries(app, 1)
    assert "log.head is missing" in (read_health(app) or "")
    assert len(list_signers(database_url)) == 1
    assert Api(app)("GET", f"{LOG}/checkpoint").status_code == 503
    root = behind(database_url, "SELECT root FROM audit_checkpoint")[0]["root"]
    for value in (bytes(32), root):
        attack(database_url, f"UPDATE audit_checkpoint SET root = {format_bytes(database_url, value)}")
        if value != root:
            assert failure(app, "audit", "accept-head").startswith("the log does not hold")
    assert output(app, "audit", "accept-head") == "the log of 3 entries is taken as it is\n"
    assert failure(app, "audit", "accept-head").startswith("log.head is there")
    assert read_health(app) is None
    assert verify_log(app)["ok"]
    assert "audit_head_accept" in [entry["action"] for entry in Api(app).entries(3)]
