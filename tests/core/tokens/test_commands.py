"""`yoq-web token`: yoq's options, outputs and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from tests.conftest import Api
from tests.support.commandline import failure, local_entries, output
from tests.support.served import command
from yoq_web import db, format_local
from yoq_web.database.rights import allow_commits
from yoq_web.tokens.models import Token


def change(app: Flask, name: str, **values: object) -> None:
    """Change one token's row behind the program's back."""
    with app.app_context(), allow_commits(), db.engine.begin() as connection:
        connection.execute(update(Token).where(Token.name == name).values(values))


def test_a_token_is_created_and_printed_once(app: Flask) -> None:
    """Four lines, the third with 64 hex characters that work as a bearer token at once."""
    printed = output(app, "token", "create", "ci", "--scope", "secrets:read", "--scope", "audit:read")
    found = re.fullmatch(
        r"token created: ci\n  scopes: secrets:read,audit:read\n  token:  ([0-9a-f]{64})\n  .*save.*\n", printed
    )
    assert found is not None, printed
    assert Api(app, found[1])("GET", "/v1/audit").status_code == 200
    assert Api(app, found[1])("GET", "/v1/policies").status_code == 403
    assert found[1] not in output(app, "token", "list") + output(app, "token", "list", "--json")


def test_creating_as_json(app: Flask) -> None:
    """`--json` prints name, scopes as one text, and the token, in this order."""
    printed = output(app, "token", "create", "ci", "--scope", "secrets:*", "--scope", "policies:read", "--json")
    token = json.loads(printed)["token"]
    assert printed == f'{{"name":"ci","scopes":"secrets:*,policies:read","token":"{token}"}}\n'
    assert Api(app, token)("GET", "/v1/secrets").status_code == 200


def test_the_list_shows_status_and_expiry_newest_first(app: Flask) -> None:
    """Columns as yoq's; revoked wins over expired; the same as JSON."""
    assert output(app, "token", "list", "--json") == "[]\n"
    for name in ("old", "gone", "late", "new"):
        output(app, "token", "create", name, "--scope", "secrets:read", "--scope", "audit:read")
        change(app, name, created_at=1000)
    change(app, "late", expires_at=2000)
    change(app, "gone", expires_at=2000)
    change(app, "new", expires_at=99999999999)
    output(app, "token", "revoke", "gone")
    scopes = "secrets:read,audit:read".ljust(40)
    assert output(app, "token", "list").splitlines() == [
        f"{'NAME':<20} {'STATUS':<10} {'SCOPES':<40} EXPIRES",
        f"{'new':<20} {'active':<10} {scopes} {format_local(99_999_999_999_000_000)}",
        f"{'late':<20} {'expired':<10} {scopes} {format_local(2_000_000_000)}",
        f"{'gone':<20} {'revoked':<10} {scopes} {format_local(2_000_000_000)}",
        f"{'old':<20} {'active':<10} {scopes} never",
    ]
    listed = output(app, "token", "list", "--json")
    assert listed.startswith(
        '[{"name":"new","scopes":"secrets:read,audit:read","status":"active","created_at":1000,"expires_at":99999999999},'
    )
    assert listed.endswith(
        ',{"name":"old","scopes":"secrets:read,audit:read","status":"active","created_at":1000,"expires_at":null}]\n'
    )


def test_a_token_is_revoked_at_once_and_again(app: Flask) -> None:
    """`revoked NAME`, also the second time; the token is nobody's from the next request on."""
    token = json.loads(output(app, "token", "create", "ci", "--scope", "*", "--json"))["token"]
    assert Api(app, token)("GET", "/v1/tokens").status_code == 200
    for _ in range(2):
        assert output(app, "token", "revoke", "ci") == "revoked ci\n"
    assert local_entries(app) == [
        ("token_revoke", "ci", "ok"),
        ("token_revoke", "ci", "ok"),
        ("token_create", "ci", "ok"),
    ]
    assert Api(app, token)("GET", "/v1/tokens").status_code == 401


def test_an_unknown_token_is_told(app: Flask) -> None:
    """Yoq's words, exit code 1, no entry."""
    assert failure(app, "token", "revoke", "nope") == "token not found: nope\n"
    assert local_entries(app) == []


def test_a_taken_name_is_told_and_recorded(app: Flask) -> None:
    """A name is unique for ever: yoq's words, exit code 1, a failed entry."""
    output(app, "token", "create", "ci", "--scope", "*")
    output(app, "token", "revoke", "ci")
    told = failure(app, "token", "create", "ci", "--scope", "*")
    assert told.splitlines()[0] == "failed to create token (does 'ci' already exist?)"
    assert local_entries(app)[0] == ("token_create", "ci", "failed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "at least one --scope is required"),
        (("--scope", "secrets:read") * 17, "too many scopes (max 16)"),
        (("--scope", "secrets"), "invalid scope: secrets"),
        (("--scope", "*", "--scope", "nothing:read"), "invalid scope: nothing:read"),
        (("--scope", "*", "--ttl", "0s"), "invalid --ttl: 0s"),
        (("--scope", "*", "--ttl", "1w"), "invalid --ttl: 1w"),
        (("--scope", "*", "--ttl", "h"), "invalid --ttl: h"),
        (("--scope", "*", "--ttl", ""), "invalid --ttl: "),
        (("--scope", "*", "--ttl=-1h"), "invalid --ttl: -1h"),
    ],
)
def test_a_wrong_option_is_told(app: Flask, options: tuple[str, ...], message: str) -> None:
    """One line says what was wrong, exit code 1; no token is made and nothing recorded."""
    assert failure(app, "token", "create", "ci", *options).splitlines()[0] == message
    assert output(app, "token", "list", "--json") == "[]\n"
    assert local_entries(app) == []


@pytest.mark.parametrize("name", ["", "a\nb", "--ci", "api-token"])
def test_a_name_that_cannot_be_borne_is_told(app: Flask, name: str) -> None:
    """Empty, unprintable, option-like and reserved names are refused at the command line as over HTTP."""
    assert "name" in failure(app, "token", "create", "--scope", "*", "--", name)
    assert output(app, "token", "list", "--json") == "[]\n"


def test_a_time_to_live_ends_a_token(app: Flask) -> None:
    """`--ttl` sets the expiry so many seconds after the creation."""
    for ttl, seconds in (("45s", 45), ("30m", 1800), ("12h", 43200), ("7d", 604800)):
        output(app, "token", "create", ttl, "--scope", "*", "--ttl", ttl)
        listed = json.loads(output(app, "token", "list", "--json"))
        found = next(token for token in listed if token["name"] == ttl)
        assert found["expires_at"] - found["created_at"] == seconds


def test_every_scope_listed_can_be_given(app: Flask) -> None:
    """`token scopes` lists the vocabulary, one a line, plugins' included."""
    words = output(app, "token", "scopes").splitlines()
    assert {"*", "cluster:admin", "secrets:write", "audit:read", "s3:*"} <= set(words)
    assert len(words) == len(set(words))
    for start in range(0, len(words), 16):
        options = [option for word in words[start : start + 16] for option in ("--scope", word)]
        output(app, "token", "create", f"t{start}", *options)


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_program_itself(tmp_path: Path, database_url: str) -> None:
    """The real program: exit code 0, or 1 with one line or its usage."""
    done = command(tmp_path, "token", "create", "ci", "--scope", "*", "--json", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('{"name":"ci","scopes":"*","token":"')
    done = command(tmp_path, "token", "revoke", "nope", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "token not found: nope\n")
    done = command(tmp_path, "token", "create", "--scope", "*", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Usage: ")
