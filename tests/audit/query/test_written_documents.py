"""What the list writes: the same JSON as of the documents that everything else reads, whatever is stored."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.support.trail import make_entry
from yoq_audit.storage.documents import make_documents, write_documents, write_fitting
from yoq_audit.storage.log import SHOWN
from yoq_web import dumps

PLAIN: dict[str, Any] = make_entry(7) | {"id": 7}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"target": None, "request_id": None, "reason": 'a "quoted" \n line \u2028 é', "peer": "2001:db8::1"},
        {"details": '{"bytes":24,"names":["ä",1.5,null]}'},
        {"details": "no JSON"},
        {"details": '{},{"outcome":"ok"'},
        {"details": "[" * 100_000},
        {"details": 7},
        {"details": None},
        {"time": 2**62},
        {"time": "yesterday"},
        {"time": 1.5},
        {"recorded_at": "now"},
        {"id": None},
        {"version": "2"},
        {"nonce": None},
        {"actor": 5},
        {"actor_kind": "nobody"},
    ],
    ids=str,
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_list_writes_what_documents_say(app: Flask, given: dict[str, Any]) -> None:
    """Every column, as it is recorded and as nobody can have recorded it, beside an entry that is sound."""
    rows = [tuple((PLAIN | members)[name] for name in SHOWN) for members in (given, {})]
    with app.app_context():
        assert write_documents(rows) == [dumps(document) for document in make_documents(rows)]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_fits_is_measured_in_bytes(app: Flask) -> None:
    """A list of just so many bytes is whole; with one less it has yoq's five members, and then fewer entries."""
    rows = [tuple((PLAIN | {"target": "ä" * 50})[name] for name in SHOWN)] * 3
    with app.app_context():
        whole = len(f"[{','.join(write_documents(rows))}]".encode())
        assert write_fitting(rows, None) == write_fitting(rows, whole) == write_documents(rows)
        short = write_fitting(rows, whole - 1)
        assert short == [dumps(dict(zip(SHOWN[:5], row, strict=False))) for row in rows]
        size = len(f"[{','.join(short)}]".encode())
        assert [len(write_fitting(rows, size - less)) for less in (0, 1, size)] == [3, 2, 0]
