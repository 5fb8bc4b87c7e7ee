"""`audit verify` looks at the schema: what the migrations made is there, as they made it, and nothing is beside it."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import make_url
from sqlalchemy.exc import IntegrityError

from tests.conftest import MakeApp
from tests.support.audit_tables import COLUMNS, TABLES, make_full_log
from tests.support.commandline import run
from tests.support.door import behind
from tests.support.tampering import attack, list_findings, make_log, verify_log

INDEXES = ("ix_audit_log_settled", "ix_audit_log_started")


def list_triggers(url: str) -> list[tuple[str, str, str]]:
    """Name, table and definition of every trigger on the log's tables."""
    if url.startswith("sqlite"):
        query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    else:
        query = (
            "SELECT tgname AS name, tgrelid::regclass::text AS tbl_name, pg_get_triggerdef(oid) AS sql "
            "FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"
        )
    return [(row["name"], row["tbl_name"], row["sql"].replace(":", r"\:")) for row in behind(url, query)]


def list_schema_findings(app: Flask) -> list[str]:
    """What is said of the schema."""
    return [message for kind, message in list_findings(app, "kind", "message") if kind == "schema"]


def test_every_trigger(app: Flask, database_url: str) -> None:
    """One that is gone is named with what it was; put back from that, the log holds again."""
    make_log(app, 3)
    triggers = list_triggers(database_url)
    assert {table for _, table, _ in triggers} == set(TABLES)
    for name, table, definition in triggers:
        on = "" if database_url.startswith("sqlite") else f" ON {table}"
        behind(database_url, f"DROP TRIGGER {name}{on}")
        (finding,) = verify_log(app)["findings"]
        assert finding["message"] == f"trigger {name} of {table} is missing"
        assert finding["was"].startswith(f"CREATE TRIGGER {name} BEFORE")
        behind(database_url, definition)
    assert verify_log(app)["ok"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_trigger_that_says_something_else(app: Flask, database_url: str) -> None:
    """One of the same name that refuses less is not taken for it."""
    make_log(app, 3)
    for name, table, definition in list_triggers(database_url):
        behind(database_url, f"DROP TRIGGER {name}", definition.replace("WHEN NOT", "WHEN 1 = 2 AND NOT"))
        assert list_schema_findings(app) == [f"trigger {name} of {table} is not as it was made"]
        behind(database_url, f"DROP TRIGGER {name}", definition)
    assert verify_log(app)["ok"]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_what_postgresql_can_do_to_a_trigger(app: Flask, database_url: str) -> None:
    """Switched off, for all or for replicas; its function replaced; a rule or a policy in its place; no log written."""
    make_log(app, 3)
    for change, undo, said in (
        ("ALTER TABLE audit_log DISABLE TRIGGER ALL", "ALTER TABLE audit_log ENABLE TRIGGER ALL", "not as it was made"),
        (
            "ALTER TABLE audit_key ENABLE REPLICA TRIGGER audit_key_no_update",
            "ALTER TABLE audit_key ENABLE TRIGGER audit_key_no_update",
            "not as it was made",
        ),
        (
            "CREATE RULE lost AS ON INSERT TO audit_log WHERE NEW.actor = 'me' DO INSTEAD NOTHING",
            "DROP RULE lost ON audit_log",
            "rule lost of audit_log is none of this program",
        ),
        (
            "ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE audit_log DISABLE ROW LEVEL SECURITY",
            "table audit_log is not as it was made",
        ),
        ("ALTER TABLE audit_log SET UNLOGGED", "ALTER TABLE audit_log SET LOGGED", "table audit_log is not as"),
    ):
        behind(database_url, change)
        assert said in "\n".join(list_schema_findings(app)), change
        behind(database_url, undo)
        assert verify_log(app)["ok"], undo
    behind(
        database_url,
        "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    )
    assert "trigger audit_key_no_update of audit_key is not as it was made" in list_schema_findings(app)


@pytest.mark.parametrize("name", INDEXES)
def test_a_unique_index(app: Flask, database_url: str, name: str) -> None:
    """One that is gone, one that is not unique, and one that is about other rows are told."""
    make_log(app, 3)
    other = "outcome = 'ok'"
    behind(database_url, f"DROP INDEX {name}")
    assert list_schema_findings(app) == [f"unique index {name} of audit_log is missing"]
    behind(database_url, f"CREATE INDEX {name} ON audit_log (event_id) WHERE outcome <> 'started'")
    assert list_schema_findings(app) == [f"unique index {name} of audit_log is missing"]
    behind(database_url, f"DROP INDEX {name}", f"CREATE UNIQUE INDEX {name} ON audit_log (event_id) WHERE {other}")
    assert list_schema_findings(app) == [f"unique index {name} of audit_log is not as it was made"]


def test_what_was_added(app: Flask, database_url: str) -> None:
    """A unique index or a column of somebody else's is told; an index for reading is nobody's business."""
    make_log(app, 3)
    behind(database_url, "CREATE INDEX mine ON audit_log (reason)")
    assert verify_log(app)["ok"]
    behind(database_url, "CREATE UNIQUE INDEX once ON audit_log (nonce)", "ALTER TABLE audit_key ADD COLUMN note TEXT")
    assert list_schema_findings(app) == [
        "column note of audit_key is none of this program",
        "unique index once of audit_log is none of this program",
    ]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_trigger_of_somebody_else(app: Flask, database_url: str) -> None:
    """One that quietly drops what somebody does, on SQLite."""
    make_log(app, 3)
    behind(
        database_url,
        "CREATE TRIGGER lost BEFORE INSERT ON audit_log WHEN NEW.actor = 'me' BEGIN SELECT RAISE(IGNORE); END",
    )
    assert list_schema_findings(app) == ["trigger lost of audit_log is none of this program"]


@pytest.mark.parametrize("outcome", ["ok", "started"])
def test_an_event_that_stands_twice(app: Flask, database_url: str, outcome: str) -> None:
    """Without the index a second entry of an event, or a second intent, can be stored: it is named, sealed or not."""
    make_log(app, 3)
    columns = "recorded_at, time, actor, actor_kind, action, target, node, details, version"
    copied = (
        f"INSERT INTO audit_log (event_id, outcome, {columns}) "
        f"SELECT event_id, '{outcome}', {columns} FROM audit_log WHERE id = 1"
    )
    behind(database_url, *(f"DROP INDEX {name}" for name in INDEXES), *[copied] * (1 if outcome == "ok" else 2))
    said = "began" if outcome == "started" else "has ended"
    for _ in range(2):
        (message,) = [text for kind, text in list_findings(app, "kind", "message") if kind == "repeated"]
        assert message.startswith("2 entries say that the event ")
        assert f" {said}: the first is " in message
        make_log(app, 1)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_values_of_another_type(app: Flask, database_url: str) -> None:
    """SQLite stores anything anywhere: in each column of each table another type is told."""
    make_full_log(app)
    assert verify_log(app)["ok"]
    for table, column in COLUMNS:
        first = f"WHERE rowid = (SELECT max(rowid) FROM {table})"
        (row,) = behind(database_url, f"SELECT {column} AS it, quote({column}) AS written FROM {table} {first}")
        other = "'text'" if isinstance(row["it"], bytes) else "x'0102'"
        try:
            attack(database_url, f"UPDATE {table} SET {column} = {other} {first}")
        except IntegrityError as refused:
            assert "datatype mismatch" in str(refused), (table, column)  # noqa: PT017 - a number that SQLite keeps one
            continue
        assert not verify_log(app)["ok"], (table, column)
        attack(database_url, f"UPDATE {table} SET {column} = {row['written']} {first}".replace(":", r"\:"))
    assert verify_log(app)["findings"] == []


@pytest.mark.parametrize("backend", ["postgresql"])
def test_who_may_not_make_a_schema_is_told_so(make_app: MakeApp, database_url: str) -> None:
    """Where there is nothing to compare with, that is said, and the rest is verified."""
    app = make_app()
    make_log(app, 3)
    name = make_url(database_url).database
    role = f"weak_{name}"
    behind(
        database_url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        f"REVOKE CREATE ON DATABASE {name} FROM PUBLIC",
    )
    weak = make_app(YOQ_DATABASE_URL=database_url.replace("postgres@", f"{role}@"))
    report = verify_log(weak)
    assert report["ok"]
    assert report["unknown"][0].startswith("whether the tables are as the migrations made them")
    assert "not known: whether the tables are" in run(weak, "audit", "verify").stdout
    behind(database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
