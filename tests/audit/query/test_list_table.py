"""`yoq-web audit list`: yoq's table, its JSON, and who acted at the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import LOCAL, local_entries, output, run
from tests.support.served import command
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.policies.operations import delete_policy


def fill(app: Flask, entries: int) -> None:
    """Leave so many entries, numbered in their targets."""
    with app.app_context():
        set_actor(make_local_actor())
        for number in range(entries):
            delete_policy("s", str(number))


def test_the_table(app: Flask) -> None:
    """Yoq's columns, newest first, `-` for no target; a failure stands there with its outcome."""
    assert output(app, "audit", "list") == f"{'TIME':<12} {'ACTOR':<16} {'ACTION':<16} {'TARGET':<28} OUTCOME\n"
    output(app, "secret", "set", "a-name-that-is-longer-than-its-column", "--value", "v")
    output(app, "secret", "list")
    assert Api(app)("POST", "/v1/tokens", json={"name": "local", "scopes": ["*"]}).status_code == 409
    lines = output(app, "audit", "list").splitlines()[1:]
    shown = [
        ("api-token", "token_create", "local", "failed"),
        ("local", "secret_list", "-", "ok"),
        ("local", "secret_set", "a-name-that-is-longer-than-its-column", "ok"),
    ]
    assert len(lines) == len(shown)
    for line, (actor, action, target, outcome) in zip(lines, shown, strict=True):
        assert re.fullmatch(rf"\d{{10}}   {actor:<16} {action:<16} {target:<28} {outcome}", line), line


def test_the_json_is_the_answer_over_http(app: Flask) -> None:
    """`--json` prints what `GET /v1/audit` answers, byte for byte; reading leaves no entry."""
    output(app, "secret", "set", "é", "--value", "v")
    Api(app)("GET", "/v1/secrets")
    expected = Api(app)("GET", "/v1/audit").text + "\n"
    assert output(app, "audit", "list", "--json") == expected
    assert output(app, "audit", "list", "--json") == expected
    assert json.loads(expected)[1]["details"] == {"version": 1, "before": None, **LOCAL}


def test_how_many(app: Flask) -> None:
    """50 unless told, at most 500, 0 is none."""
    fill(app, 60)
    for options, count in (((), 50), (("--limit", "0"), 0), (("--limit", "3"), 3), (("--limit", "9999999999"), 60)):
        listed = json.loads(output(app, "audit", "list", "--json", *options))
        assert [entry["target"] for entry in listed] == [f"s->{number}" for number in range(59, 59 - count, -1)]


@pytest.mark.parametrize("limit", ["-1", "abc", "", "1.5"])
def test_a_limit_that_is_no_number_is_told(app: Flask, limit: str) -> None:
    """A person's mistake is told, not guessed at."""
    done = run(app, "audit", "list", f"--limit={limit}")
    assert done.exit_code != 0
    assert done.stdout == ""
    assert "Invalid value for '--limit'" in done.stderr


def test_every_local_act_names_the_user(app: Flask) -> None:
    """Commands act as `local`, never as an actor of an earlier request, and record the operating system's user."""
    assert Api(app)("GET", "/v1/policies").status_code == 200
    output(app, "policy", "deny", "a", "b")
    output(app, "token", "create", "ci", "--scope", "*")
    assert local_entries(app) == [("token_create", "ci", "ok"), ("policy_add", "a->b", "ok")]
    assert [entry["details"] for entry in Api(app).entries()] == [
        {"scopes": ["*"], "expires_at": None, **LOCAL},
        {"source": "a", "destination": "b", "action": "deny", "before": None, **LOCAL},
    ]


def test_a_target_draws_no_rows(app: Flask) -> None:
    """An entry takes one line whatever its target holds: nobody forges a row of the trail."""
    name = "db ok\n1795491066   api-token        secret_set       other\x1b[2K"
    assert Api(app)("POST", "/v1/secrets", json={"name": name, "value": "v"}).status_code == 200
    lines = output(app, "audit", "list").splitlines()
    assert len(lines) == 2
    assert "\x1b" not in lines[1]
    assert "db ok\\n1795491066" in lines[1]


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_program_itself(tmp_path: Path, database_url: str) -> None:
    """The real program: the table on standard output, exit code 0; a wrong option is exit code 1."""
    done = command(tmp_path, "audit", "list", "--limit", "1", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TIME         ACTOR            ACTION           TARGET")
    done = command(tmp_path, "audit", "list", "--limit", "x", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
