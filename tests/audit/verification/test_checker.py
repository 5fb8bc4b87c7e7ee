"""`yoq-web audit verify`: a log that holds, of any length, sealed in any steps, and what is told about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask

from tests.support.commandline import output, run
from tests.support.door import behind
from tests.support.served import command
from tests.support.tampering import add_entries, attack, make_log, seal, verify_log
from yoq_audit.tlog.codec import encode_base64
from yoq_audit.tlog.hashes import EMPTY_ROOT


def test_an_empty_log_holds(app: Flask) -> None:
    """Before the first entry there is nothing wrong."""
    report = verify_log(app)
    assert len(report.pop("unknown")) == 3
    assert report == {
        "ok": True,
        "entries": 0,
        "size": 0,
        "root": encode_base64(EMPTY_ROOT),
        "pending": 0,
        "oldest_pending_seconds": None,
        "spool": 0,
        "pruned": 0,
        "erased": 0,
        "findings": [],
        "found": 0,
    }


@pytest.mark.parametrize("counts", [(1,), (255,), (256,), (257,), (3, 250, 2, 1, 1, 255, 88)])
def test_a_log_of_any_length_holds(app: Flask, database_url: str, counts: tuple[int, ...]) -> None:
    """A log that nobody touched verifies, and its root is the newest checkpoint's."""
    make_log(app, *counts)
    report = verify_log(app)
    newest = behind(database_url, "SELECT root FROM audit_checkpoint ORDER BY size DESC LIMIT 1")[0]
    assert (report["ok"], report["entries"], report["size"]) == (True, sum(counts), sum(counts))
    assert report["root"] == encode_base64(bytes(newest["root"]))


def test_what_is_not_sealed_yet_is_told(app: Flask) -> None:
    """Entries that wait to be sealed are a number, not a finding; verifying does not seal them."""
    make_log(app, 5)
    add_entries(app, 3)
    for _ in range(2):
        report = verify_log(app)
        assert (report["ok"], report["entries"], report["size"], report["pending"]) == (True, 8, 5, 3)


def test_it_writes_nothing(app: Flask, database_url: str) -> None:
    """Every table is the same afterwards."""
    make_log(app, 5)
    add_entries(app, 2)
    tables = ("audit_log", "audit_leaf", "audit_tile", "audit_checkpoint", "audit_key")
    before = [behind(database_url, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    verify_log(app)
    assert [behind(database_url, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables] == before


def test_texts_of_every_kind_hold(app: Flask) -> None:
    """Marks, backslashes, control characters and any script in a name verify like others."""
    for name in ('a"b', "back\\slash", "new\nline", "tab\t\x01\x7f", "é😀\u2028", '","actor":"x'):
        output(app, "secret", "set", name, "--value", "v")
    seal(app)
    report = verify_log(app)
    assert (report["ok"], report["size"]) == (True, 6)


def test_a_person_reads_that_it_holds(app: Flask) -> None:
    """Without --json it says so in words."""
    make_log(app, 2)
    first, second, *unknown = output(app, "audit", "verify").splitlines()
    assert first == "the log holds; 2 entries, 2 sealed, 0 pending, 0 spooled"
    assert second.startswith("root ")
    assert [line.startswith("not known: ") for line in unknown] == [True, True]


def test_a_person_reads_what_is_wrong(app: Flask, database_url: str) -> None:
    """Each finding is a line, and the exit code is 1."""
    make_log(app, 2)
    attack(database_url, "DELETE FROM audit_tile")
    done = run(app, "audit", "verify")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "tile 0/0 missing (tile/0/000)"
    assert "the log does not hold: 1 findings" in done.stdout


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_program_itself(app: Flask, tmp_path: Path, database_url: str) -> None:
    """The real program: JSON on standard output, nothing else; exit code 1 when it does not hold."""
    make_log(app, 3)
    done = command(tmp_path, "audit", "verify", "--json", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stderr, json.loads(done.stdout)["ok"]) == (0, "", True)
    attack(database_url, "DELETE FROM audit_leaf WHERE leaf_index = 1")
    done = command(tmp_path, "audit", "verify", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (1, "")
