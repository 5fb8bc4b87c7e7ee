"""What the tests of verification share: a log of some length, an attacker with the database, and the findings."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask

from tests.support.commandline import run
from tests.support.door import acting, behind
from yoq_audit.sealing import sealer
from yoq_web.policies.operations import delete_policy


def add_entries(app: Flask, count: int) -> None:
    """Leave so many entries."""
    with acting(app):
        for number in range(count):
            delete_policy("a", str(number % 5))


def seal(app: Flask) -> int:
    """Seal what there is; returns how many entries that was."""
    with app.app_context():
        return sealer.seal()


def make_log(app: Flask, *counts: int) -> None:
    """A log of these many entries, sealed after each."""
    for count in counts:
        add_entries(app, count)
        seal(app)


def attack(url: str, *statements: str) -> None:
    """Do this in the database behind the application's back, without triggers, which are there again afterwards."""
    if url.startswith("sqlite"):
        triggers = behind(url, "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        off = [f"DROP TRIGGER {found['name']}" for found in triggers]
        on = [found["sql"].replace(":", r"\:") for found in triggers]
    else:
        listed = "SELECT DISTINCT tgrelid::regclass::text AS name FROM pg_trigger WHERE NOT tgisinternal"
        tables = [found["name"] for found in behind(url, listed)]
        off, on = ([f"ALTER TABLE {name} {word} TRIGGER USER" for name in tables] for word in ("DISABLE", "ENABLE"))
    behind(url, *off)
    try:
        behind(url, *statements)
    finally:
        behind(url, *on)


def format_bytes(url: str, data: bytes) -> str:
    """These bytes as a literal of this database's SQL."""
    return f"x'{data.hex()}'" if url.startswith("sqlite") else f"'\\x{data.hex()}'::bytea"


def verify_log(app: Flask) -> dict[str, Any]:
    """What `audit verify --json` prints; its exit code says the same."""
    done = run(app, "audit", "verify", "--json")
    assert done.stderr == "", done.output
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if report["ok"] else 1), done.output
    assert report["ok"] == (report["findings"] == []) == (report["found"] == 0)
    return report


def list_findings(app: Flask, *members: str) -> list[tuple[Any, ...]]:
    """These members of each finding."""
    return [tuple(finding.get(name) for name in members) for finding in verify_log(app)["findings"]]


def find_entry(url: str, index: int) -> int:
    """The id of the entry at a place of the log."""
    entry: int = behind(url, f"SELECT entry_id FROM audit_leaf WHERE leaf_index = {index}")[0]["entry_id"]
    return entry
