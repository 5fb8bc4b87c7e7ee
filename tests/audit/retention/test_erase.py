"""Erasing: what one entry said is gone from the database, its place stays provable, and the trail says why."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output, run
from tests.support.door import acting, behind
from tests.support.outsider import Log, check_proof, hash_leaf, is_consistent, open_checkpoint
from tests.support.retention import count_entries, hand_over, make_old_event, prune, read_vkey, store
from tests.support.tampering import add_entries, seal, verify_log
from yoq_audit.proofs.entry_leaf import make_leaf
from yoq_audit.retention import eraser
from yoq_audit.tlog.codec import decode_base64
from yoq_web import NotFound, db

SECRET = "Erika-Mustermann-1964"
OLD = 3 * 86400


def erase(app: Flask, event_id: str, *arguments: str) -> str:
    """Erase an entry unasked."""
    return output(app, "audit", "erase", event_id, "--reason", "her right to be forgotten", "--yes", *arguments)


def personal_log(app: Flask) -> tuple[list[str], dict[str, object]]:
    """A log of 300 entries, the 41st with something personal."""
    ids = store(app, [make_old_event(OLD, number, SECRET if number == 40 else "plain") for number in range(300)])
    entry = Api(app)("GET", f"/v1/audit/entries/{ids[40]}").json
    assert isinstance(entry, dict)
    return ids, entry


def test_what_an_entry_said_is_gone_and_its_place_is_not(app: Flask, api: Api, database_url: str) -> None:
    """Nothing shows the entry any more; its leaf hash stays under the old and the new root; the others are proved."""
    ids, entry = personal_log(app)
    vkey = read_vkey(api)
    old = open_checkpoint(api("GET", "/v1/audit/log/checkpoint").text, vkey)
    kept = hash_leaf(make_leaf(entry))
    said = erase(app, ids[40])
    assert said.startswith(f"erased: {ids[40]}, number 40 of the log\n")
    assert "backups" in said
    assert count_entries(database_url) == 300
    everything = [str(behind(database_url, f"SELECT * FROM {table}")) for table in ("audit_log", "audit_erased")]
    assert SECRET not in "".join(everything)
    newest = api.entries(1)[0]
    assert (newest["action"], newest["target"], newest["outcome"]) == ("audit_erase", ids[40], "ok")
    assert (newest["details"]["index"], newest["details"]["reason"]) == (40, "her right to be forgotten")

    assert api("GET", "/v1/audit/log/retention").json["erased"] == [40]  # type: ignore[index]
    assert ids[40] not in [shown["event_id"] for shown in api.entries(500)]
    for path in (f"/v1/audit/entries/{ids[40]}", f"/v1/audit/entries/{ids[40]}/proof"):
        answer = api("GET", path)
        assert answer.status_code == 404
        assert f"it was erased: number 40 of the log; the entry {newest['event_id']} says why" in answer.text
    for place in ("000", "000.p/41", "000.p/200"):
        answer = api("GET", f"/v1/audit/log/tile/entries/{place}")
        assert (answer.status_code, answer.json["error"]) == (410, "the bundle holds an erased entry")  # type: ignore[index]
    assert api("GET", "/v1/audit/log/tile/entries/000.p/40").status_code == 200
    assert api("GET", "/v1/audit/log/tile/entries/001.p/45").status_code == 200

    new = open_checkpoint(api("GET", "/v1/audit/log/checkpoint").text, vkey)
    log = Log(lambda path: api("GET", f"/v1/audit/log/{path}").data)
    assert log.hashes(0, new.size)[40] == kept
    assert log.root(new.size) == new.root
    path = api("GET", f"/v1/audit/log/consistency?from={old.size}&to={new.size}").json["hashes"]  # type: ignore[index]
    assert is_consistent(old.size, new.size, old.root, new.root, [decode_base64(node) for node in path])
    for neighbour in (ids[39], ids[41]):
        document = api("GET", f"/v1/audit/entries/{neighbour}").json
        assert isinstance(document, dict)
        proof = api("GET", f"/v1/audit/entries/{neighbour}/proof").text
        assert check_proof(proof, make_leaf(document), vkey) == new
    report = verify_log(app)
    assert (report["ok"], report["erased"], report["pruned"]) == (True, 1, 0)
    assert "0 pruned and 1 erased, as sealed entries announce" in output(app, "audit", "verify")

    assert "it was erased: number 40" in failure(app, "audit", "erase", ids[40], "--reason", "again", "--yes")
    store(app, [make_old_event(OLD, 40, SECRET)])  # an event of its own: only that one is gone
    assert count_entries(database_url) == 301
    assert prune(app) == 255
    assert (verify_log(app)["ok"], verify_log(app)["pruned"], verify_log(app)["erased"]) == (True, 256, 0)
    assert "it was erased: number 40" in api("GET", f"/v1/audit/entries/{ids[40]}").text


def test_a_spool_does_not_bring_it_back(app: Flask, database_url: str) -> None:
    """An event that is handed over once more after its erasure is not stored, before its bundle is pruned and after."""
    events = [make_old_event(OLD, number, SECRET) for number in range(256)]
    store(app, events)
    erase(app, events[40].id)
    hand_over(app, events[40])
    assert count_entries(database_url) == 256
    assert prune(app) == 255
    hand_over(app, events[40], events[41])
    assert count_entries(database_url) == 2


def test_both_entries_of_an_event_go(app: Flask, api: Api, database_url: str) -> None:
    """Of an event that acts outside the database its intent is erased, too; one that has not ended is not erased."""
    event, other = make_old_event(OLD, 1, SECRET), make_old_event(OLD, 2, SECRET)
    intents = [dataclasses.replace(one, outcome="started") for one in (event, other)]
    store(app, [*intents, event])
    assert "has not ended yet" in failure(app, "audit", "erase", other.id, "--reason", "x", "--yes")
    erase(app, event.id)
    assert api("GET", "/v1/audit/log/retention").json["erased"] == [0, 2]  # type: ignore[index]
    hand_over(app, event, intents[0])
    assert count_entries(database_url) == 2
    assert (verify_log(app)["ok"], verify_log(app)["erased"]) == (True, 2)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_files_do_not_hold_it(app: Flask, api: Api, tmp_path: Path) -> None:
    """After a rewriting no file of the data directory has a copy; before it there was one."""

    def files_with(text: str) -> list[str]:
        return [path.name for path in tmp_path.iterdir() if path.is_file() and text.encode() in path.read_bytes()]

    ids, _ = personal_log(app)
    assert files_with(SECRET)
    erase(app, ids[40], "--rewrite")
    assert files_with(SECRET) == []
    assert verify_log(app)["ok"]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("default", [0, 1])  # builds of SQLite differ
def test_a_fault_in_the_middle_is_told_and_changes_no_connection(app: Flask, database_url: str, default: int) -> None:
    """What the database says first is raised, not what it says next; connections stay as they were, then and later."""
    ids, _ = personal_log(app)
    faulty: list[sqlite3.Connection] = []

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA secure_delete = {default}")

    def break_down(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("DELETE FROM audit_log"):
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.set_progress_handler(lambda: 1, 1)  # from here on every statement is interrupted
            faulty.append(driver)

    def settings() -> set[int]:
        in_use = [db.engine.raw_connection() for _ in range(3)]
        found = {one.cursor().execute("PRAGMA secure_delete").fetchone()[0] for one in in_use}
        for one in in_use:
            one.close()
        return found

    with acting(app):
        db.session.close()
        db.engine.dispose()
        listen(db.engine, "connect", prepare)
        found = eraser.find_erasable(ids[40])
        listen(db.engine, "before_cursor_execute", break_down)
        with pytest.raises(OperationalError) as told:
            eraser.erase(found, "x")
        remove(db.engine, "before_cursor_execute", break_down)
        assert (told.value.statement or "").startswith("DELETE FROM audit_log")
        for driver in faulty:
            with suppress(sqlite3.ProgrammingError):  # it was closed
                driver.set_progress_handler(None, 1)
        assert settings() == {default}
        assert count_entries(database_url) == 301
        with pytest.raises(NotFound) as gone:  # it was announced, and this ends what was announced
            eraser.find_erasable(ids[40])
        assert "it was erased: number 40" in str(gone.value.detail)
        db.session.rollback()
        assert settings() == {default}
    assert count_entries(database_url) == 300
    assert (verify_log(app)["ok"], verify_log(app)["erased"]) == (True, 1)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_rewriting_on_postgresql(app: Flask, database_url: str) -> None:
    """There the table is rewritten, and everything is as before."""
    ids, _ = personal_log(app)
    erase(app, ids[40], "--rewrite")
    assert count_entries(database_url) == 300
    assert verify_log(app)["ok"]


def test_what_is_not_erased(app: Flask, api: Api, make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Announcements, young entries and what is not there are refused in words; so is a machine without the key."""
    ids, _ = personal_log(app)
    erase(app, ids[40])
    add_entries(app, 1)
    seal(app)
    announcement, young = api.entries(2)[1]["event_id"], api.entries(1)[0]["event_id"]
    before = count_entries(database_url)
    for event_id, told in (
        (announcement, "this entry cannot be erased"),
        (young, "the entry is too young"),
        ("nothing", "there is no entry 'nothing'"),
    ):
        assert told in failure(app, "audit", "erase", event_id, "--reason", "x", "--yes")
    other = make_app(YOQ_DATA_DIR=str(tmp_path / "other"))
    assert "nothing can be pruned or erased here" in failure(other, "audit", "erase", ids[1], "--reason", "x", "--yes")
    asked = run(app, "audit", "erase", ids[1], "--reason", "x", stdin="no\n")
    assert (asked.exit_code, "nothing was erased" in asked.stderr) == (1, True)
    assert "retention_test of t1 by tester" in asked.stderr
    assert count_entries(database_url) == before
    typed = run(app, "audit", "erase", ids[1], "--reason", "x", stdin="erase\n")
    assert (typed.exit_code, count_entries(database_url)) == (0, before)  # one less, and the one that says so
    assert verify_log(app)["ok"]
