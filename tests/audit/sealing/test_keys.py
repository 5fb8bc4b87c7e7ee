"""The log's keys: which machine may sign, and which of the database's keys are believed."""

from __future__ import annotations

import shutil
from pathlib import Path

from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure
from tests.support.door import behind
from tests.support.log_keys import LOG, get_ids, list_signers, read_health, read_own_key, rotate
from tests.support.tampering import add_entries, attack, list_findings, make_log, seal, verify_log
from yoq_audit.sealing import keys
from yoq_audit.sealing.key_chain import sign_announcement
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer, sign


def test_a_key_that_was_only_put_into_the_database(app: Flask, api: Api, database_url: str) -> None:
    """Neither by itself, nor with an announcement that the log's key did not sign, is a key believed or served."""
    make_log(app, 3)
    own = read_own_key(app)
    forger, helper = Signer.generate(own.name), Signer.generate(own.name)
    forged = sign_announcement(helper, forger).replace(helper.vkey, own.vkey)
    for announcement in ("NULL", f"'{sign_announcement(helper, forger)}'", f"'{forged}'", "'nonsense'"):
        row = f"('{forger.vkey}', 1, {announcement})"
        behind(database_url, f"INSERT INTO audit_key (vkey, added_at, announcement) VALUES {row}")
        said = f"the key {own.name}+{forger.verifier.key_id.hex()} in the database is not this log's"
        assert list_findings(app, "kind", "message") == [("key", said)]
        assert api("GET", f"{LOG}/key").text.split() == [own.vkey]
        make_log(app, 1)
        assert set(list_signers(database_url)) == set(get_ids(own.vkey))
        attack(database_url, f"DELETE FROM audit_key WHERE vkey = '{forger.vkey}'")
    assert verify_log(app)["ok"]


def test_a_replaced_key_signs_no_more(app: Flask, database_url: str) -> None:
    """A checkpoint that the old key signed after the new one began is told, and one of the new key before it."""
    make_log(app, 3)
    old = read_own_key(app)
    rotate(app)
    make_log(app, 2, 2)
    new = read_own_key(app)
    for size, said, *signers in (
        (8, "which was replaced before", old),
        (3, "which was not announced", new),
        # Both sign the tree that holds the announcement, of size 4, and no other.
        (8, "which was replaced before", old, new),
        (8, "which was replaced before", new, old),
        (3, "which was not announced", old, new),
        (3, "which was not announced", new, old),
    ):
        row = behind(database_url, f"SELECT root, note FROM audit_checkpoint WHERE size = {size}")[0]
        note = sign(Checkpoint(old.name, size, bytes(row["root"])).text, *signers)
        attack(database_url, f"UPDATE audit_checkpoint SET note = '{note}' WHERE size = {size}")
        messages = [message for (message,) in list_findings(app, "message")]
        assert any(f"checkpoint of size {size} signed by" in message and said in message for message in messages)
        attack(database_url, f"UPDATE audit_checkpoint SET note = '{row['note']}' WHERE size = {size}")
    assert verify_log(app)["ok"]
    attack(database_url, f"DELETE FROM audit_key WHERE vkey = '{old.vkey}'")
    kinds = list_findings(app, "kind", "message")
    assert ("key", f"this log's key {old.name}+{old.verifier.key_id.hex()} is not in the database") in kinds


def test_a_machine_with_the_old_key_stops(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """It seals nothing and /health says what to copy; with the new files it goes on."""
    here = make_app()
    make_log(here, 2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (keys.KEY_FILE, keys.HEAD_FILE):
        shutil.copy(tmp_path / name, elsewhere / name)
    there = make_app(YOQ_DATA_DIR=str(elsewhere), YOQ_NODE="node-2")
    make_log(there, 1)
    rotate(here)
    add_entries(there, 1)
    said = read_health(there)
    assert said is not None
    assert "log.key was replaced by" in said
    assert "copy log.key and log.head" in said
    assert [row["size"] for row in behind(database_url, "SELECT size FROM audit_checkpoint")] == [2, 3, 4]
    assert verify_log(there)["ok"]
    assert Api(there)("GET", f"{LOG}/checkpoint").status_code == 200
    assert failure(there, "audit", "key", "rotate").startswith("this machine does not sign the log")
    seal(here)
    for name in (keys.KEY_FILE, keys.HEAD_FILE):
        shutil.copy(tmp_path / name, elsewhere / name)
    assert read_health(there) is None
    make_log(there, 2)
    assert verify_log(here)["ok"]
    assert verify_log(there)["ok"]


def test_a_database_with_another_key_is_not_believed(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Where this machine's key is not among the database's, that is told, and theirs are not believed, head or not."""
    make_log(app, 3)
    own = read_own_key(app)
    forger = Signer.generate(own.name)
    for row in behind(database_url, "SELECT size, root FROM audit_checkpoint"):
        note = sign(Checkpoint(own.name, row["size"], bytes(row["root"])).text, forger)
        attack(database_url, f"UPDATE audit_checkpoint SET note = '{note}' WHERE size = {row['size']}")
    attack(database_url, f"UPDATE audit_key SET vkey = '{forger.vkey}'")
    (tmp_path / keys.HEAD_FILE).unlink()
    messages = [message for (message,) in list_findings(app, "message")]
    assert f"the key {own.name}+{forger.verifier.key_id.hex()} in the database is not this log's" in messages
    assert f"this machine's key {own.name}+{own.verifier.key_id.hex()} is not in the database" in messages
    assert "checkpoint of size 3 signed by an unknown key" in messages
    assert "log.key is not the log's key" in (read_health(app) or "")
    assert Api(app)("GET", f"{LOG}/key").status_code == 503
