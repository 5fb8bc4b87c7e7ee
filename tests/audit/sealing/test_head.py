"""The head kept outside the database: there from the beginning, it never moves back, and is missed when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output
from tests.support.door import behind
from tests.support.faults import Injected
from tests.support.log_keys import LOG, list_signers, read_health
from tests.support.tampering import add_entries, attack, format_bytes, list_findings, make_log, seal, verify_log
from yoq_audit.sealing import keys, sealer, signer
from yoq_web.files import replace


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


def test_a_first_key_that_another_process_puts_in_its_place_is_not_taken_for_an_older_one(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for a log that ended while somebody else seals for the first time leaves the key alone."""
    add_entries(app, 2)
    read = keys.read_vkeys

    def seal_meanwhile(session: Session) -> list[str]:
        found = read(session)
        session.rollback()
        monkeypatch.undo()
        sealer.promote_key()
        return found

    with app.app_context():
        signer.ensure_first_key()
        monkeypatch.setattr(keys, "read_vkeys", seal_meanwhile)
        sealer.try_to_seal()
    assert (tmp_path / keys.KEY_FILE).exists()
    assert read_health(app) is None
    assert verify_log(app)["size"] == 2


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


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("names", [("log.key",), ("log.key", "log.head"), ("log.key", "log.head", "log.head.lock")])
def test_a_machine_that_lost_its_key(app: Flask, tmp_path: Path, names: tuple[str, ...]) -> None:
    """Where a machine has sealed before, it is no machine that never had the key: it says so, head or not."""
    make_log(app, 3)
    kept = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names:
        (tmp_path / name).unlink()
    assert (read_health(app) or "").startswith("nothing is sealed: log.key is missing on a machine that has sealed")
    assert ("head",) in list_findings(app, "kind")
    add_entries(app, 1)
    assert read_health(app) is not None
    for name, content in kept.items():
        replace(tmp_path / name, content)
    assert read_health(app) is None
    assert verify_log(app)["size"] == 4


def test_a_machine_that_lost_its_key_beside_others(
    make_app: MakeApp, backend: str, tmp_path: Path, database_url: str
) -> None:
    """One of several says so as long as anything tells that it has sealed; one that never did has nothing to say."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = (make_app(YOQ_DATA_DIR=str(tmp_path / name)) for name in ("here", "there"))
    make_log(here, 3)
    for name in (keys.KEY_FILE, keys.HEAD_FILE):
        (tmp_path / "here" / name).unlink()
    assert "log.key is missing" in (read_health(here) or "")
    assert list_findings(here, "kind") == [("head",)]
    assert read_health(there) is None
    report = verify_log(there)
    assert report["ok"]
    assert "this machine has none" in report["unknown"][-1]


def test_a_cut_is_told_without_the_key(make_app: MakeApp, tmp_path: Path, database_url: str) -> None:
    """A machine that has the head, and the key no more, still notices that the log was cut off."""
    app = make_app()
    make_log(app, 3, 2)
    (tmp_path / keys.KEY_FILE).unlink()
    attack(
        database_url,
        "DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM audit_leaf WHERE leaf_index >= 3)",
        "DELETE FROM audit_leaf WHERE leaf_index >= 3",
        "DELETE FROM audit_checkpoint WHERE size > 3",
    )
    assert ("cut off",) in list_findings(app, "kind")
