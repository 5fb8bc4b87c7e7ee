"""`yoq-web policy`: outputs, exit codes and entries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import failure, local_entries, output
from tests.support.served import command


def test_rules_are_made_listed_and_removed(app: Flask) -> None:
    """The main path: each command's output and the entries that it leaves."""
    assert output(app, "policy", "list") == "no network policies\n"
    assert output(app, "policy", "deny", "web", "db") == "web -> db: deny\n"
    assert output(app, "policy", "allow", "api", "db") == "api -> db: allow\n"
    assert output(app, "policy", "rm", "web", "db") == "web -> db: removed\n"
    assert output(app, "policy", "rm", "web", "db") == "web -> db: removed\n"
    assert local_entries(app) == [
        ("policy_delete", "web->db", "ok"),
        ("policy_delete", "web->db", "ok"),
        ("policy_add", "api->db", "ok"),
        ("policy_add", "web->db", "ok"),
    ]
    assert Api(app)("GET", "/v1/policies").text == '[{"source":"api","target":"db","action":"allow"}]'


def test_the_list_is_a_table(app: Flask) -> None:
    """Columns of fixed width, the oldest rule first, a replaced one last."""
    output(app, "policy", "deny", "web", "db")
    output(app, "policy", "allow", "a-source-of-thirty-characters-x", "db")
    output(app, "policy", "allow", "web", "db")
    lines = output(app, "policy", "list").splitlines()
    assert lines[0] == "SOURCE           TARGET           ACTION   CREATED"
    created = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d"
    assert re.fullmatch(rf"a-source-of-thirty-characters-x db               allow    {created}", lines[1])
    assert re.fullmatch(rf"web              db               allow    {created}", lines[2])
    assert len(lines) == 3


def test_the_list_as_json(app: Flask) -> None:
    """`--json` is one compact line with the time of creation in seconds."""
    assert output(app, "policy", "list", "--json") == "[]\n"
    output(app, "policy", "deny", "é", "db")
    printed = output(app, "policy", "list", "--json")
    created = json.loads(printed)[0]["created_at"]
    assert isinstance(created, int)
    assert printed == f'[{{"source":"é","target":"db","action":"deny","created_at":{created}}}]\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("deny", "", "db"), "source cannot be empty\n"), (("allow", "web", ""), "target cannot be empty\n")],
)
def test_an_empty_name_is_told(app: Flask, arguments: tuple[str, ...], message: str) -> None:
    """The rules are those over HTTP, in their words; nothing is recorded."""
    assert failure(app, "policy", *arguments) == message
    assert local_entries(app) == []


def test_stored_names_draw_no_rows(app: Flask) -> None:
    """Control characters of a rule's names are shown escaped."""
    rule = {"source": "a\nb", "target": "c\x1b[1A", "action": "deny"}
    assert Api(app)("POST", "/v1/policies", json=rule).status_code == 200
    lines = output(app, "policy", "list").splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("a\\nb             c\\x1b[1A")


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_program_itself(tmp_path: Path, database_url: str) -> None:
    """The real program: exit code 0, or 1 with its usage, and no traceback."""
    done = command(tmp_path, "policy", "deny", "web", "db", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "web -> db: deny\n", "")
    done = command(tmp_path, "policy", "deny", "web", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Usage: ")
