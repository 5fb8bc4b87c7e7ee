"""The formats of an export: nothing is lost, nothing breaks out of its place, nothing runs in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.conftest import Api
from tests.support.commandline import run
from tests.support.export import FORMULAS, export, make_nasty_entries, read_key
from tests.support.ocsf_schema import check
from tests.support.outsider import check_proof
from tests.support.tampering import seal
from tests.support.trail import store
from yoq_audit.export.csv import guard
from yoq_audit.proofs.entry_leaf import drop_unproved, make_leaf, parse_document
from yoq_web import dumps


@pytest.fixture
def nasty(api: Api, database_url: str) -> Api:
    """A sealed log of entries with every nasty text."""
    store(database_url, make_nasty_entries())
    seal(api.app)
    return api


def test_each_line_is_the_entry_as_the_api_shows_it(nasty: Api) -> None:
    """ndjson: every entry in the order of the log, in the API's spelling, its proof can be checked with it."""
    lines = export(nasty).split(b"\n")
    assert lines.pop() == b""
    shown = nasty.entries()[::-1]
    assert lines == [dumps(drop_unproved(entry) | {"place": n}).encode() for n, entry in enumerate(shown)]
    assert len(lines) == len(make_nasty_entries()) + 1
    assert json.loads(lines[-1])["action"] == "audit_export"
    for line in (lines[0], lines[-1]):
        document = parse_document(line)
        proof = nasty("GET", f"/v1/audit/entries/{document['event_id']}/proof").text
        check_proof(proof, make_leaf(document), read_key(nasty))


def test_csv_for_spreadsheets_begins_with_a_byte_order_mark(nasty: Api) -> None:
    """It is the same file behind the mark, by which Excel knows UTF-8; the trail says that it was that one."""
    marked = export(nasty, "format=csv-bom&action=secret_set")
    assert marked == b"\xef\xbb\xbf" + export(nasty, "format=csv&action=secret_set")
    assert marked.decode("utf-8-sig").startswith('"index","time",')
    command = run(nasty.app, "audit", "export", "--format", "csv-bom", "--action", "secret_set")
    assert command.stdout_bytes == marked
    assert [entry["details"]["format"] for entry in nasty.entries(3)] == ["csv-bom", "csv", "csv-bom"]


def test_csv_gives_every_cell_back_and_none_is_a_formula(nasty: Api) -> None:
    """CSV after RFC 4180: every cell is quoted, comes back as it was, and none of those of a text begins a formula."""
    content = export(nasty, "format=csv").decode()
    assert content.endswith("\r\n")
    header, *rows = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert header[:3] == ["index", "time", "actor"]
    assert [row[0] for row in rows] == [str(number) for number in range(len(rows))]
    assert all(len(row) == len(header) for row in rows)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    for entry, cells in zip(nasty.entries()[::-1], found, strict=True):
        for name in header[2:]:
            value = entry[name]
            wanted = "" if value is None else dumps(value) if isinstance(value, dict) else str(value)
            assert cells[name].removeprefix("'") == wanted
            assert guard(wanted) == cells[name]
            assert cells[name].lstrip(" \t\r\n\ufeff")[:1] not in tuple("=+-@|%\uff1d\uff0b\uff0d\uff20")
    plain = io.StringIO(content, newline="").readline()
    assert plain.startswith('"index","time","actor","action","target","outcome","event_id"')


def test_the_guard_takes_formulas_and_leaves_the_rest() -> None:
    """Every formula gets an apostrophe, ordinary texts and numbers stay as they are, and each comes back."""
    for text in FORMULAS:
        assert guard(text) == f"'{text}"
    for cell in ("a", "a=1", "1-1", "2026-11-24T00:00:00Z", "::1", "{}", "", 5, None):
        assert guard(cell) == cell


def test_ocsf_is_api_activity_of_the_schema(nasty: Api) -> None:
    """OCSF 1.8.0, class 6003: what the schema requires is there, of the type it says; nothing of the entry is lost."""
    assert nasty("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200
    assert nasty("GET", "/v1/secrets").status_code == 200
    assert nasty("DELETE", "/v1/secrets/db").status_code == 200
    events = [json.loads(line) for line in export(nasty, "format=ocsf").splitlines()]
    shown = nasty.entries()[::-1]
    assert len(events) == len(shown)
    for event, entry in zip(events, shown, strict=True):
        check("api_activity", event)
        assert event["type_uid"] == 100 * event["class_uid"] + event["activity_id"]
        assert event["time"] == int(event["time"])
        assert event["metadata"]["original_time"] == entry["time"]
        assert event["metadata"]["uid"] == entry["event_id"]
        assert event["unmapped"]["details"] == entry["details"]
        assert event["status_code"] == entry["outcome"]
        assert event.get("status_detail") == entry["reason"]
        assert event["actor"]["user"]["name"] == entry["actor"]
        assert [found["name"] for found in event.get("resources", [])] == (
            [] if entry["target"] is None else [entry["target"]]
        )
    kinds = {event["api"]["operation"]: event["activity_id"] for event in events}
    assert kinds["secret_set"] == 3
    assert kinds["secret_delete"] == 4
    assert kinds["audit_export"] == 2
    assert kinds["made_up"] == 99
    assert {event["status_id"] for event in events} == {0, 1, 2}
