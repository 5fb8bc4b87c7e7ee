"""What is only in memory is stored before a process ends, and a command that is read-only writes nothing at all."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import ADMIN, Api, MakeApp
from tests.core.operations.test_failure_policy import SET, no_audit_log
from tests.support.commandline import output, run
from tests.support.depot import Depot, leave_intent
from tests.support.door import behind, entries
from tests.support.limits import break_spool
from tests.support.served import serve
from yoq_web import create_app, wsgi
from yoq_web.operations.mac import INTENTS
from yoq_web.operations.spool import current_spool


def test_what_only_memory_holds_is_stored_at_the_end(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With no disk for the spool, a later success stores the record; so does the end of the process, or it says so."""
    app = make_app(YOQ_AUDIT_FAILURE="continue")
    api = Api(app)
    broken = break_spool(tmp_path)
    with no_audit_log(database_url):
        assert api("POST", "/v1/secrets", json=SET | {"name": "first"}).status_code == 200
        with capture_logs() as logs:
            wsgi._finish(app)
        assert [(line["log_level"], line["records"]) for line in logs if "records" in line] == [("critical", 1)]
    assert api("POST", "/v1/secrets", json=SET | {"name": "second"}).status_code == 200
    assert [entry["target"] for entry in entries(database_url)] == ["second", "first"]
    with no_audit_log(database_url):
        assert api("POST", "/v1/secrets", json=SET | {"name": "third"}).status_code == 200
    assert current_spool(app).held == 1
    with capture_logs() as logs:
        wsgi._finish(app)
    assert [line for line in logs if "records" in line] == []
    assert [entry["target"] for entry in entries(database_url)] == ["second", "first", "third"]
    with no_audit_log(database_url):  # and a command does so, too
        assert run(app, "policy", "deny", "a", "b").exit_code == 0
    broken.rmdir()
    assert output(app, "policy", "list").splitlines()[1:] != []
    assert [entry["action"] for entry in entries(database_url)][-1] == "policy_add"
    assert current_spool(app).empty


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_that_is_told_twice_to_end_loses_nothing(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """A start settles what a crash left open; SIGTERM, and a second one, with records in memory: they are stored."""
    left = tmp_path / "left.json"

    def effect() -> None:
        [path] = (tmp_path / INTENTS).iterdir()
        shutil.copy(path, left)

    app = make_app(Depot(effect))
    assert Api(app)("POST", "/v1/depot/north").status_code == 200
    document = json.loads(left.read_text())
    event_id = document["id"] = document["id"][:-4] + "beef"
    leave_intent(tmp_path, document)
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN, "YOQ_AUDIT_FAILURE": "continue"}
    with serve(tmp_path, **settings) as served:
        break_spool(tmp_path)
        with no_audit_log(database_url):
            answer = served("POST", "/v1/secrets", json=SET)
            assert (answer.status_code, "Audit-Id" in answer.headers) == (200, False)
        for _ in range(2):
            served.process.terminate()
        assert served.process.wait(30) in (0, -signal.SIGTERM)
    found = [(row["target"], row["outcome"]) for row in entries(database_url)]
    assert ("db", "ok") in found
    assert (event_id, "interrupted") in [(row["event_id"], row["outcome"]) for row in entries(database_url)]


def test_verify_writes_nothing(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With a waiting spool and an open intent, `audit verify` leaves both and the database as they are, and tells."""
    app = make_app()
    assert Api(app)("POST", "/v1/secrets", json=SET).status_code == 200
    assert Api(app)("GET", "/v1/audit/log/checkpoint").status_code == 200
    with no_audit_log(database_url):
        assert Api(app)("POST", "/v1/secrets", json=SET).status_code == 200
    (tmp_path / INTENTS).mkdir()
    (tmp_path / INTENTS / "torn.json").write_text("")
    tables = ("audit_log", "audit_leaf", "audit_checkpoint", "secrets")

    def found() -> list[object]:
        contents = [behind(database_url, f"SELECT * FROM {table} ORDER BY 1") for table in tables]
        files = ["spool.jsonl", "yoq.db", f"{INTENTS}/torn.json"]
        return [*contents, *[(tmp_path / name).read_bytes() for name in files if (tmp_path / name).exists()]]

    if (tmp_path / "yoq.db").exists():  # what is in SQLite's log goes into its file
        sqlite3.connect(tmp_path / "yoq.db").execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    before = found()
    done = run(app, "audit", "verify", "--json")
    assert found() == before
    assert json.loads(done.stdout)["spool"] == 1
    output(app, "audit", "list")
    assert len(entries(database_url)) == 2
    assert not (tmp_path / INTENTS / "torn.json").exists()


def test_a_read_only_command_makes_no_database_ready(tmp_path: Path) -> None:
    """On an empty database it says what to run, and leaves it empty."""
    app = create_app({"YOQ_DATA_DIR": str(tmp_path), "YOQ_API_TOKEN": ADMIN})
    done = run(app, "audit", "verify")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith("Run: yoq-web db upgrade\n")
    assert (tmp_path / "yoq.db").stat().st_size <= 4096
