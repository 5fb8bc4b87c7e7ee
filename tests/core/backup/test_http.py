"""Backups over HTTP: in a directory of the server's own, each action with its scope and its entry."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pyrage
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import Api, MakeApp
from tests.support.backup import backup
from tests.support.commandline import output
from tests.support.plugins import Made
from yoq_web import Event
from yoq_web.backup import age, operations, snapshot
from yoq_web.commands.progress import ProgressCallback


def test_taken_listed_read_and_deleted(app: Flask, api: Api, tmp_path: Path) -> None:
    """A backup that was asked for is kept, listed, sent as it is, and deleted; each but listing leaves an entry."""
    assert api("GET", "/v1/backups").get_json() == []
    made = api("POST", "/v1/backups", json={})
    assert made.status_code == 201, made.text
    name = made.get_json()["name"]
    path = tmp_path / "backups" / name
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, made.get_json()["size"])
    assert api("GET", "/v1/backups").get_json() == [made.get_json()]
    sent = api("GET", f"/v1/backups/{name}", buffered=True)
    assert (sent.status_code, sent.data) == (200, path.read_bytes())
    (tmp_path / "sent").write_bytes(sent.data)
    assert "can be restored" in output(app, "restore", str(tmp_path / "sent"), "--verify")
    assert output(app, "backup", "list") == f"{name}  {path.stat().st_size}\n"
    assert api("DELETE", f"/v1/backups/{name}").get_json() == {"status": "removed"}
    assert not path.exists()
    found = [(entry["action"], entry["target"], entry["outcome"]) for entry in api.entries()]
    assert found == [("backup_delete", name, "ok"), ("backup_read", name, "ok"), ("backup", name, "ok")]
    assert made.headers["Audit-Id"] == api.entries()[2]["event_id"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_recipients(api: Api) -> None:
    """A backup for a recipient opens with his identity; what is no recipient is refused."""
    identity = age.make_identity()
    made = api("POST", "/v1/backups", json={"recipients": [age.derive_recipient(identity)]})
    data = api("GET", f"/v1/backups/{made.get_json()['name']}", buffered=True).data
    opened = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity.splitlines()[-1])])
    assert opened[257:262] == b"ustar"
    for wrong in ("age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "/etc/passwd"):
        assert api("POST", "/v1/backups", json={"recipients": [wrong]}).status_code == 400


@pytest.mark.parametrize("backend", ["sqlite"])
def test_scopes_and_names(api: Api, tmp_path: Path) -> None:
    """Reading the list, taking and sending need scopes of their own; a name cannot lead out of the directory."""
    name = api("POST", "/v1/backups", json={}).get_json()["name"]
    asked = {
        "backups:read": ("GET", "/v1/backups"),
        "backups:write": ("POST", "/v1/backups"),
        "backups:download": ("GET", f"/v1/backups/{name}"),
    }
    for number, scope in enumerate(asked):
        token = api.token(scope, name=f"t{number}")
        for needed, (method, path) in asked.items():
            status = token(method, path, json={} if method == "POST" else None, buffered=True).status_code
            allowed = scope == needed or (scope, needed) == ("backups:write", "backups:read")
            assert (status < 300) == allowed, (scope, needed, status)
    (tmp_path / "backups" / "stray").write_text("x")
    for wrong in ("..%2Fbackup.key", "backup.key", "stray", "20200101-000000.yoqbackup", "%2e%2e"):
        for method in ("GET", "DELETE"):
            assert api(method, f"/v1/backups/{wrong}").status_code == 404
    assert (tmp_path / "backup.key").exists()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_one_at_a_time_while_others_write(
    app: Flask, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup is of one moment, however much is written while it is taken; a second one meanwhile is refused."""
    monkeypatch.setattr(snapshot, "PAGES", 5)
    api("POST", "/v1/secrets", json={"name": "first", "value": "v"})
    written: list[int] = []
    original = snapshot.copy_sqlite

    def write() -> None:
        written.append(Api(app)("POST", "/v1/secrets", json={"name": f"n{len(written)}", "value": "v"}).status_code)
        if len(written) == 1:
            written.append(Api(app)("POST", "/v1/backups", json={}).status_code)

    def copy(source: Path, target: Path, steps: ProgressCallback) -> None:
        def write_between(done: int, of: int) -> None:
            if len(written) < 6:
                other = threading.Thread(target=write)
                other.start()
                other.join()
            steps(done, of)

        original(source, target, write_between)

    monkeypatch.setattr(snapshot, "copy_sqlite", copy)
    backup(app, tmp_path / "b")
    assert written == [200, 409, 200, 200, 200, 200]
    monkeypatch.undo()
    assert "can be restored" in output(app, "restore", str(tmp_path / "b"), "--verify")


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite lets no other operation begin meanwhile
def test_none_that_was_answered_is_replaced(make_app: MakeApp, tmp_path: Path) -> None:
    """Of two that are asked for in one moment, each that is answered 201 has a file of its own, which stays."""
    answers: list[TestResponse] = []
    asked: list[Event] = []

    def ask_for_another(event: Event) -> None:
        asked.append(event)
        if len(asked) == 1:
            other = threading.Thread(target=lambda: answers.append(Api(app)("POST", "/v1/backups", json={})))
            other.start()
            other.join()

    app = make_app(Made("twice", yoq_before_operation=ask_for_another))
    answers.append(Api(app)("POST", "/v1/backups", json={}))
    made = [answer.get_json() for answer in answers if answer.status_code == 201]
    assert made
    assert {path.name: path.stat().st_size for path in (tmp_path / "backups").iterdir()} == {
        one["name"]: one["size"] for one in made
    }
    assert len({one["name"] for one in made}) == len(made)
    ended = {entry["outcome"]: entry["target"] for entry in Api(app).entries() if entry["action"] == "backup"}
    assert ended == {"failed": None, "ok": made[0]["name"]}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_name_is_left(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all the names of a second are taken, a backup is refused, recorded as failed, and replaces nothing."""
    monkeypatch.setattr(operations, "NAMES_A_SECOND", 3)
    folder = tmp_path / "backups"
    folder.mkdir()
    now = int(time.time())
    for second in range(now, now + 600):  # whichever of them it will be
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(second))
        for number in range(3):
            (folder / f"{moment}{f'-{number}' if number else ''}.yoqbackup").touch()
    answer = api("POST", "/v1/backups", json={})
    assert (answer.status_code, answer.get_json()["error"]) == (409, "no name is left")
    assert [path for path in folder.iterdir() if path.stat().st_size] == []
    assert [entry["outcome"] for entry in api.entries()] == ["failed"]
