"""The table of the filters: everything that takes filters is made of it, and a further one takes a row and an index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

from tests.conftest import Api, migrate
from tests.support.audit_copy import add_row, copy_audit, run_with_copy
from tests.support.commandline import output
from tests.support.trail import START, find_next, make_entry, make_url, store
from yoq_audit.commands import group
from yoq_audit.query.cursor import Cursor, decode_cursor
from yoq_audit.query.filters import PARAMETERS, FilterQuery, Selection
from yoq_audit.query.search import Finder
from yoq_audit.query.snapshot import Snapshot
from yoq_web import Problem, create_app, db, metadata

ROUTES = ("/v1/audit", "/v1/audit/stats", "/v1/audit/export", "/v1/audit/stream")
COMMANDS = ("list", "stats", "export", "follow")

ROW = '    Filter("reason", "Why it ended so", "For this reason.", "REASON", column="reason", rank=2),'
REVISION = '''"""An index of reasons."""

import sqlalchemy as sa
from alembic import op

revision = "{new}"
down_revision = "{old}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    rows = sa.text("reason IS NOT NULL")
    op.create_index("ix_audit_log_reason", "audit_log", ["reason", "id"], sqlite_where=rows, postgresql_where=rows)


def downgrade() -> None:
    op.drop_index("ix_audit_log_reason", table_name="audit_log")
'''


def test_everything_that_takes_filters_takes_each_of_them(app: Flask) -> None:
    """The routes have a parameter for each row and the commands an option, which say what it says."""
    paths: dict[str, Any] = Api(app)("GET", "/openapi.json").json["paths"]  # type: ignore[index]
    for route in ROUTES:
        parameters = {each["name"]: each for each in paths[route]["get"]["parameters"]}
        for one in PARAMETERS:
            assert parameters[one.name]["description"] == one.description, (route, one.name)
    assert [one.name for one in PARAMETERS] == list(FilterQuery.model_fields)
    filtered = [name for name, command in group.commands.items() if {"actor", "since"} & _options(command).keys()]
    assert sorted(filtered) == sorted(COMMANDS)
    for name in filtered:
        options = _options(group.commands[name])
        for one in PARAMETERS:
            assert options[one.name].help == one.help, (name, one.name)


def _options(command: click.Command) -> dict[str | None, click.Option]:
    return {option.name: option for option in command.params if isinstance(option, click.Option)}


GIVEN_OUT: list[tuple[dict[str, Any], str]] = [
    ({}, "eba2d1e07dc85f50"),
    ({"actor": ["a", "b"]}, "62f07858c3fc47a0"),
    ({"request_id": ["s", "r"], "action": ["x"], "actor": ["a"]}, "ad68e97b1b41ab70"),
    ({"target": ["t*", "u"], "outcome": ["denied", "started"], "since": "2026-01-01T00:00:00Z"}, "d5a16a93fb4b29f3"),
]
"""Filters, and what cursors that were given out say of them."""


@pytest.mark.parametrize(("parameters", "digest"), GIVEN_OUT)
def test_cursors_that_were_given_out_stay_good(parameters: dict[str, Any], digest: str) -> None:
    """The digest of filters in a cursor is what it was, whatever filters there are by now."""
    assert FilterQuery(**parameters).resolve().digest() == digest


def test_a_cursor_that_was_given_out_leads_where_it_led() -> None:
    """Texts of cursors from before there was a table of filters are read, with their filters and no others."""
    by_actor = FilterQuery(actor=["a", "b"]).resolve()
    text = "ITyFNSDgc3ZbWzEsImRlc2MiLCI2MmYwNzg1OGMzZmM0N2EwIixudWxsLG51bGwsNV0sMiw5LFsyLDIsMiwwXV0"
    assert decode_cursor(text, by_actor, "desc") == Cursor((5,), Snapshot(2, 9, ((4, 6), (8, 8))))
    by_time = FilterQuery(target=["t*"], since="2h").resolve()
    text = "A-oPzaFECcFbWzEsImFzYyIsIjY0NGNhOTY4NTZiN2RkNDMiLDE3OTAwMDAwMDAwMDAwMDAs"
    text += "bnVsbCwxNzkwMDAwMDAwMDAwMDAwLDVdLDksMCxbXV0"
    assert decode_cursor(text, by_time, "asc") == Cursor((START, 5), Snapshot(9), since=START)
    with pytest.raises(Problem, match="invalid cursor"):
        decode_cursor(text, by_actor, "asc")


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_a_filter_is_a_row_and_a_migration(empty_url: str, tmp_path: Path) -> None:
    """With these two the API, the commands, the cursors, the search and the models know a filter, by its index."""
    copy = copy_audit(tmp_path)
    add_row(copy / "query" / "filters.py", "FILTERS", ROW)
    newest = max(file.name.partition("_")[0] for file in (copy / "migrations").glob("audit*.py"))
    (copy / "migrations" / "audit999_reasons.py").write_text(REVISION.format(new="audit999", old=newest))
    run_with_copy(copy, try_reason, YOQ_DATABASE_URL=empty_url)


def try_reason() -> None:
    """Show, where there is a filter `reason`, that it does all that a filter does."""
    migrate({})
    app = create_app()
    api = Api(app)
    rows = [make_entry(number, reason=f"reason-{number % 3}" if number else None) for number in range(10)]
    store(os.environ["YOQ_DATABASE_URL"], rows)

    meant = [row["event_id"] for row in rows if row["reason"] == "reason-1"][::-1]
    assert meant
    page = api("GET", make_url({"reason": "reason-1", "limit": 2}))
    shown = page.json
    following = find_next(page)
    assert following
    shown += api("GET", following).json  # type: ignore[operator]
    assert [found["event_id"] for found in shown or []] == meant
    assert api("GET", following.replace("reason-1", "reason-2")).status_code == 400
    stats = api(
        "GET", make_url({"reason": "reason-1", "since": "2026-09-21T00:00:00Z", "bucket": "7d"}, "/v1/audit/stats")
    )
    assert stats.json["total"] == len(meant)  # type: ignore[index]
    exported = api("GET", make_url({"reason": "reason-1"}, "/v1/audit/export")).text
    assert exported.count("\n") == len(meant)
    assert api.entries()[0]["details"]["filters"] == ["reason=reason-1"]

    for command in COMMANDS:
        assert "--reason REASON" in output(app, "audit", command, "--help")
    assert output(app, "audit", "list", "--reason", "reason-1").count("\n") == 1 + len(meant)

    test_everything_that_takes_filters_takes_each_of_them(app)
    for parameters, digest in GIVEN_OUT:
        test_cursors_that_were_given_out_stay_good(parameters, digest)
    with app.app_context():
        found = Finder(db.session(), FilterQuery(reason=["reason-1"]).resolve())
        assert found.find(5)
        assert found.tried == ["index reason"]
        assert FilterQuery(reason=["reason-1"]).resolve().digest() != Selection().digest()
        with db.engine.connect() as connection:
            options = {"include_object": lambda _item, name, kind, *_: kind != "table" or name == "audit_log"}
            assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        db.session.remove()
        db.engine.dispose()
