"""Exporting over HTTP and on the command line: what is in it, who may, what is recorded, and what it costs."""

from __future__ import annotations

import json
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from tests.conftest import Api
from tests.support.commandline import failure, output, run
from tests.support.export import export, fill_log, read_key, verify
from tests.support.tampering import seal
from tests.support.trail import make_entry, store
from yoq_audit.export import feeds, sealed_log
from yoq_audit.export.operations import Export
from yoq_audit.export.sealed_log import Scan, current_sealed_log
from yoq_audit.query.filters import FilterQuery, Selection
from yoq_audit.storage.tree import find_signed_tree
from yoq_web import db


def events(content: bytes) -> list[str]:
    """The event ids of an export."""
    return [json.loads(line)["event_id"] for line in content.splitlines()]


def test_filters_are_those_of_the_list(api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the filter and the size of a page: what the list shows, in the order of the log, each entry once."""
    monkeypatch.setattr(sealed_log, "PAGE", 7)
    fill_log(api.app, database_url, 100)
    for query in (
        "actor=actor-1",
        "actor=actor-1&actor=actor-2",
        "target=target-1*",
        "outcome=ok&node=node-1",
        "request_id=request-42",
        "since=2026-09-21T14:14:00Z",
        "until=2026-09-21T14:14:00Z",
        "since=2026-09-21T14:13:50Z&until=2026-09-21T14:14:00Z&actor=actor-1",
        "until=1970-01-02T00:00:00Z",
        "actor=nobody",
        "since=30m",
    ):
        found = events(export(api, query))
        listed = api("GET", f"/v1/audit?limit=500&order=asc&{query}").json
        assert listed is not None
        assert found == [entry["event_id"] for entry in listed], query
    everything = events(export(api))
    assert len(everything) == len(set(everything)) == len(api.entries())


def test_it_is_recorded_before_anything_leaves(api: Api, database_url: str) -> None:
    """The entry `audit_export` says format and filters; it is there before the first byte is read, and exported too."""
    fill_log(api.app, database_url, 3)
    answer = api("GET", "/v1/audit/export?actor=actor-1&actor=api-token&since=2000d&with_proofs=1", buffered=False)
    newest = api.entries(1)[0]
    assert (newest["action"], newest["outcome"], newest["event_id"]) == (
        "audit_export",
        "ok",
        answer.headers["Audit-Id"],
    )
    filters = ["actor=actor-1", "actor=api-token", "since=2000d"]
    assert newest["details"] == {"format": "ndjson", "with_proofs": True, "filters": filters}
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.ndjson"'
    assert newest["event_id"] in answer.text
    for query, problem in (
        ("format=xml", "format must be"),
        ("with_proofs=1&format=csv", "invalid with_proofs"),
        ("actors=x", "unknown parameter actors"),
        ("since=tomorrow", "invalid since"),
        ("limit=5", "unknown parameter limit"),
    ):
        refused = api("GET", f"/v1/audit/export?{query}")
        assert (refused.status_code, refused.json["error"][: len(problem)]) == (400, problem)  # type: ignore[index]
    assert api.token("secrets:read")("GET", "/v1/audit/export").status_code == 403
    denied = api.entries(1)[0]
    assert (denied["action"], denied["outcome"], denied["actor"]) == ("audit_export", "denied", "ci")
    assert api.with_token(None)("GET", "/v1/audit/export").status_code == 401


def test_there_are_only_so_many_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit 503 with Retry-After, and nothing is recorded; a place is free again when an export ends."""
    monkeypatch.setitem(feeds.MOST, "exports", 2)
    first = api("GET", "/v1/audit/export", buffered=False)
    second = api("GET", "/v1/audit/export", buffered=False)
    refused = api("GET", "/v1/audit/export")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert len(api.entries()) == 2
    assert api("GET", "/v1/audit/export?format=xml").status_code == 400  # which takes no place
    assert first.data.count(b"\n") == 1
    first.close()
    assert export(api).count(b"\n") == 3
    second.close()
    assert export(api).count(b"\n") == 4


def test_one_that_breaks_off_says_so(api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that goes, a revoked token, a defect: the last line says that the export is not whole."""
    monkeypatch.setattr(sealed_log, "PAGE", 10)
    monkeypatch.setattr(feeds, "CHECK_SECONDS", 0)
    fill_log(api.app, database_url, 30)
    ci = api.token("audit:read")
    answer = ci("GET", "/v1/audit/export", buffered=False)
    assert api("DELETE", "/v1/tokens/ci").status_code == 200
    *whole, last = answer.data.splitlines()
    assert json.loads(last) == {"error": "the token is not good any more"}
    assert len(whole) < 30
    read = Scan.read
    for error, reason in (
        (OperationalError("SELECT", {}, Exception("gone")), "database unavailable"),
        (RuntimeError("hunter2"), "internal error"),
    ):

        def broken(self: Scan, first: int, end: int, error: Exception = error) -> Any:
            if first > 15:
                raise error
            return read(self, first, end)

        monkeypatch.setattr(Scan, "read", broken)
        assert json.loads(export(api).splitlines()[-1]) == {"error": reason}
        assert export(api, "format=csv").splitlines()[-1] == f'"error: {reason}"'.encode()
        broken_off = export(api, "with_proofs=true")
        with pytest.raises(ValueError, match=r"^line \d+: "):
            verify(broken_off, read_key(api))


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("with_proofs", [False, True])
def test_memory_does_not_grow_with_the_log(app: Flask, database_url: str, with_proofs: bool) -> None:
    """Exporting four times as many entries takes no more memory."""

    def peak() -> int:
        with app.app_context():
            sealed = find_signed_tree(db.session())
        assert sealed is not None
        tracemalloc.start()
        whole = Export(current_sealed_log(app), Selection(), "ndjson", with_proofs, sealed)
        size = sum(len(piece) for piece in whole.write())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > 300 * sealed.size
        return found

    fill_log(app, database_url, 2000)
    peak()  # what is kept for good, as compiled statements
    small = peak()
    store(database_url, [make_entry(number) for number in range(2000, 8000)])
    seal(app)
    assert peak() < small * 1.3


def test_the_commands_write_private_files_at_once_or_not_at_all(
    app: Flask, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`audit export` writes to standard output, or a file of mode 0600 that is there when whole; it is recorded."""
    fill_log(app, database_url, 20)
    assert output(app, "audit", "export", "--action", "secret_set").count("\n") == 20
    file = tmp_path / "out" / "export.csv"
    file.parent.mkdir()
    file.write_text("the old one")
    assert output(app, "audit", "export", "--format", "csv", "--actor", "actor-1", "-o", str(file), "--overwrite") == ""
    assert file.read_bytes().count(b"\r\n") == 5
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert recorded_filters(app) == [["actor=actor-1"], ["action=secret_set"]]

    def broken(_self: Scan, _first: int, _end: int) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as failing:
        failing.setattr(Scan, "read", broken)
        said = failure(app, "audit", "export", "-o", str(file), "--overwrite")
    assert said == f"{file} cannot be written: No space left on device\n"
    assert file.read_bytes().count(b"\r\n") == 5  # the file before is untouched, and nothing lies beside it
    assert list(file.parent.iterdir()) == [file]
    assert "cannot be written" in failure(app, "audit", "export", "-o", str(tmp_path / "none" / "x"))
    assert "only ndjson" in failure(app, "audit", "export", "--format", "ocsf", "--with-proofs")
    assert "since" in failure(app, "audit", "export", "--since", "tomorrow")
    done = run(app, "audit", "export", "--with-proofs", "-o", "-")
    assert verify(done.stdout_bytes, output(app, "audit", "key").strip()).gaps == []


def recorded_filters(app: Flask) -> list[list[str]]:
    """The filters of the recorded exports, the newest first."""
    return [found["details"]["filters"] for found in Api(app).entries() if found["action"] == "audit_export"]


def test_the_filters_of_an_entry_name_every_field() -> None:
    """Each filter that can be given appears in the record of a reading in bulk."""
    given = {name: ["x"] for name in ("actor", "action", "target", "node", "request_id")}
    given |= {"outcome": ["ok"], "kind": ["local"], "peer": ["192.0.2.0/24"], "details": ["x=y"], "not": ["actor=z"]}
    query = FilterQuery.model_validate(given | {"since": "2h", "until": "1h"})
    plain = set(FilterQuery.model_fields) - {"details", "not"}
    assert set(query.resolve().to_document()) == plain | {"details.x", "actor!"}
