"""Edits of the spool by somebody without its key: each is found and set aside; what is genuine is still recorded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from tests.core.operations.test_failure_policy import SET, no_audit_log
from tests.core.operations.test_spool import drained, event, ids
from tests.support.door import entries
from yoq_web.jsontext import dumps
from yoq_web.operations.mac import KEY_FILE
from yoq_web.operations.replay import replay
from yoq_web.operations.spool import SUSPECT, Spool
from yoq_web.operations.spool_file import FILE, LOCK

NAMES = ["a", "b", "c", "d", "e"]

Lines = list[bytes]
Edit = Callable[[Path], object]


def on_lines(change: Callable[[Lines], Lines]) -> Edit:
    """An edit of the file's lines."""

    def edit(folder: Path) -> None:
        (folder / FILE).write_bytes(b"".join(change((folder / FILE).read_bytes().splitlines(keepends=True))))

    return edit


def altered(old: str, new: str) -> Callable[[Lines], Lines]:
    """The third line with something else in it."""
    return lambda lines: [*lines[:2], lines[2].replace(old.encode(), new.encode()), *lines[3:]]


def of_another_directory(lines: Lines) -> Lines:
    """A line added that is genuine elsewhere, where the number fits."""
    elsewhere = Path(os.environ["PYTEST_ELSEWHERE"])
    spool = Spool(elsewhere)
    for name in [*NAMES, "forged"]:
        spool.keep(event(name), ["audit"])
    spool.close()
    return [*lines, (elsewhere / FILE).read_bytes().splitlines(keepends=True)[-1]]


def remove_both(folder: Path) -> None:
    """Remove the lines and what says how far they go."""
    (folder / FILE).unlink()
    (folder / LOCK).unlink()


FORGED = dumps({"event": event("forged"), "recorders": ["audit"]}).encode() + b"\n"

EDITS: dict[str, tuple[Edit, list[str]]] = {
    "an outcome is altered": (on_lines(altered('"ok"', '"failed"')), ["a", "b", "d", "e"]),
    "the recorders are emptied": (on_lines(altered('["audit"]', "[]")), ["a", "b", "d", "e"]),
    "a recorder is exchanged": (on_lines(altered('"audit"', '"nobody"')), ["a", "b", "d", "e"]),
    "a number is altered": (on_lines(altered('"number":3', '"number":2')), ["a", "b", "d", "e"]),
    "a line loses its code": (on_lines(lambda lines: [*lines[:4], lines[4][:-44] + b"}\n"]), NAMES[:4]),
    "the first line is removed": (on_lines(lambda lines: lines[1:]), NAMES[1:]),
    "a line is removed": (on_lines(lambda lines: lines[:2] + lines[3:]), ["a", "b", "d", "e"]),
    "the last line is removed": (on_lines(lambda lines: lines[:-1]), NAMES[:-1]),
    "the last line is cut": (on_lines(lambda lines: [*lines[:-1], lines[-1][:-9]]), NAMES[:-1]),
    "two lines change places": (on_lines(lambda lines: [lines[1], lines[0], *lines[2:]]), NAMES),
    "a line is doubled": (on_lines(lambda lines: [*lines, lines[1]]), NAMES),
    "a line is forged": (on_lines(lambda lines: [*lines, FORGED]), NAMES),
    "a line is put in between": (on_lines(lambda lines: [lines[0], FORGED, *lines[1:]]), NAMES),
    "a line of another directory is added": (on_lines(of_another_directory), NAMES),
    "the file is emptied": (lambda folder: (folder / FILE).write_bytes(b""), []),
    "the file is deleted": (lambda folder: (folder / FILE).unlink(), []),
    "the extent is emptied": (lambda folder: (folder / LOCK).write_bytes(b""), NAMES),
    "the extent is deleted": (lambda folder: (folder / LOCK).unlink(), NAMES),
    "the extent is altered": (lambda folder: (folder / LOCK).write_text('{"begins":5,"ends":5,"mac":"00"}'), NAMES),
    "the key is deleted": (lambda folder: (folder / KEY_FILE).unlink(), []),
    "the key is exchanged": (lambda folder: (folder / KEY_FILE).write_bytes(os.urandom(32)), []),
    "lines and extent are removed": (remove_both, []),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory whose spool holds lines, left by a process that has ended."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("PYTEST_ELSEWHERE", str(tmp_path / "elsewhere"))
    spool = Spool(tmp_path)
    for name in NAMES:
        spool.keep(event(name), ["audit"])
    spool.close()
    return tmp_path


def findings(folder: Path) -> list[dict[str, object]]:
    """What was found and set aside."""
    path = folder / SUSPECT
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("what", EDITS)
def test_every_edit_is_found(folder: Path, what: str) -> None:
    """The next process hands over what is genuine and nothing else, says what it found, and goes on."""
    edit, genuine = EDITS[what]
    edit(folder)
    spool = Spool(folder)
    with capture_logs() as logs:
        assert drained(spool) == [(name, "ok", "audit") for name in genuine]
    found = findings(folder)
    assert found
    assert [line["why"] for line in logs if line["event"] == "the spool was edited"] == [one["why"] for one in found]
    assert spool.suspect == len(found)
    assert spool.empty
    spool.keep(event("later"), ["audit"])
    assert drained(spool) == [("later", "ok", "audit")]
    assert spool.empty
    assert findings(folder) == found
    spool.close()


@pytest.mark.parametrize("what", EDITS)
def test_what_comes_behind_an_edit_hides_it_from_nobody(folder: Path, what: str) -> None:
    """A record that is kept before anybody looks is as good as ever, and the edit is found all the same."""
    edit, genuine = EDITS[what]
    edit(folder)
    Spool(folder).keep(event("later"), ["audit"])
    assert [name for name, _, _ in drained(Spool(folder))] == [*genuine, "later"]
    assert findings(folder)


@pytest.mark.parametrize("what", EDITS)
def test_nothing_that_was_edited_is_read(folder: Path, what: str) -> None:
    """Whoever only looks, as `/health` and readers of entries do, sees what is genuine, and changes nothing."""
    edit, genuine = EDITS[what]
    edit(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found = ids(Spool(folder))
    if what == "the key is deleted":  # it looks as if it never had been there
        assert found == NAMES
    else:
        assert sorted(found) == genuine
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_process_remembers_what_others_put_back(folder: Path) -> None:
    """Who puts lines and extent back to what they were is found out by a process that has seen more."""
    old = {name: (folder / name).read_bytes() for name in (FILE, LOCK)}
    spool = Spool(folder)
    spool.keep(event("later"), ["audit"])
    for name, content in old.items():
        (folder / name).write_bytes(content)
    spool.keep(event("last"), ["audit"])
    assert [name for name, _, _ in drained(spool)] == [*NAMES, "last"]
    assert {one["why"] for one in findings(folder)} == {
        f"{LOCK} was put back to an earlier state",
        "lines were removed: 1",
    }
    (folder / KEY_FILE).unlink()
    spool.keep(event("more"), ["audit"])
    assert [name for name, _, _ in drained(spool)] == ["more"]
    assert findings(folder)[-1]["why"] == f"{KEY_FILE} was removed"
    assert [name for name, _, _ in drained(Spool(folder))] == []
    assert len(findings(folder)) == 3


def test_what_a_crash_leaves_is_no_edit(folder: Path) -> None:
    """An extent that was not written any more, a torn last line, spent lines that were not removed: nobody's edit."""
    extent = (folder / LOCK).read_bytes()
    Spool(folder).keep(event("f"), ["audit"])
    (folder / LOCK).write_bytes(extent)
    with (folder / FILE).open("ab") as file:
        file.write(b'{"event":{"id":"to')
    Spool(folder).keep(event("g"), ["audit"])
    content = (folder / FILE).read_bytes()
    assert [name for name, _, _ in drained(Spool(folder))] == [*NAMES, "f", "g"]
    (folder / FILE).write_bytes(content)
    assert drained(Spool(folder)) == []
    assert Spool(folder).empty
    assert findings(folder) == []


def test_what_nobody_can_vouch_for_belongs_to_nobody(folder: Path) -> None:
    """A key, or a spool of an earlier version, that belongs to another user than the directory was put there by him."""
    if os.geteuid():
        pytest.skip("only the superuser gives files away")
    os.chown(folder / KEY_FILE, 4711, -1)
    spool = Spool(folder)
    spool.open()
    assert not spool.writable
    shutil.copy(folder / FILE, folder / "copy")
    for name in (KEY_FILE, LOCK, FILE):
        (folder / name).unlink()
    (folder / "copy").rename(folder / FILE)
    os.chown(folder / FILE, 4711, -1)
    assert drained(Spool(folder)) == []
    assert f"{FILE} belongs to another user" in [one["why"] for one in findings(folder)]


def test_health_says_so_until_somebody_has_looked(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With an outcome altered and recorders emptied in an outage, the trail gets the rest, and `/health` says it."""
    api = Api(make_app())
    with no_audit_log(database_url):
        receipts = [
            api("POST", "/v1/secrets", json=SET | {"name": name}).headers["Audit-Id"] for name in ("a", "b", "c")
        ]
        lines = (tmp_path / FILE).read_text().splitlines(keepends=True)
        forged = [line.replace('"ok"', '"denied"') if receipts[0] in line else line for line in lines]
        forged = [line.replace('["audit"]', "[]") if receipts[1] in line else line for line in forged]
        (tmp_path / FILE).write_text("".join(forged))
        assert api("GET", f"/v1/audit/entries/{receipts[2]}").get_json()["stored"] == "spool"
    with api.app.app_context():
        replay()
    assert [entry["event_id"] for entry in entries(database_url)] == [receipts[2]]
    assert api("GET", "/health").json == {"status": "degraded", "spool_suspect": 2}
    set_aside = (tmp_path / SUSPECT).read_text()
    assert receipts[0] in set_aside
    assert receipts[1] in set_aside
    (tmp_path / SUSPECT).rename(tmp_path / "looked-at")
    assert api("GET", "/health").json == {"status": "ok"}
