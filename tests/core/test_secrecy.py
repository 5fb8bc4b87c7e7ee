"""Secrecy: secret values and tokens are nowhere but where they belong, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.door import Probe, acting, behind
from tests.support.served import Served, command, serve
from yoq_web import Operation
from yoq_web.hooks.host import current_host
from yoq_web.operations.operation import current_operations
from yoq_web.secrets.keys.encryption import Cipher
from yoq_web.secrets.models import Secret
from yoq_web.secrets.operations import delete_secret, set_secret
from yoq_web.secrets.schemas import SecretIn
from yoq_web.settings import current_settings
from yoq_web.tokens.schemas import TokenCreated

VALUE = "canary-7f3a9c-value"
ADMIN_TOKEN = "c0ffee" * 10 + "beef"

BAD_BODIES = (
    f'{{"name":"n","value":["{VALUE}"]}}',
    f'{{"name":["{VALUE}"],"value":"{VALUE}"}}',
    f'{{"name":"","value":"{VALUE}"}}',
    f'{{"name":"n\\u0000","value":"{VALUE}"}}',
    f'{{"{VALUE}":"n"}}',
    f'{{"name":"n","value":"{VALUE}"',
    f'["{VALUE}"]',
    f'"{VALUE}"',
    VALUE,
)
"""Bodies that are refused, each with the value in another place."""


class Watched:
    """The served program; everything that it answers is kept."""

    def __init__(self, program: Served) -> None:
        self.program = program
        self.answers: list[str] = []

    def __call__(self, method: str, path: str, *, status: int, token: str = ADMIN_TOKEN, body: str = "") -> str:
        """Send a request whose answer must have this status; returns the answer's text."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = self.program(method, path, headers=headers, data=body.encode())
        assert answer.status_code == status, answer.text
        self.answers.append(f"{answer.headers}\n{answer.text}")
        return answer.text


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory; it holds the server's log as well, and on SQLite the database."""
    return tmp_path


@pytest.fixture
def program(database_url: str, data_dir: Path) -> Iterator[Watched]:
    """The program with an admin token that can be told from everything else."""
    with serve(data_dir, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN_TOKEN) as served:
        yield Watched(served)


def database_text(url: str) -> str:
    """Everything in the database as text, bytes as hex."""
    if url.startswith("sqlite"):  # there the file itself is looked into
        return ""
    tables = [row["name"] for row in behind(url, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")]
    assert {"secrets", "tokens", "audit_log"} <= set(tables)
    return "\n".join(str(behind(url, f'SELECT t::text FROM "{table}" t')) for table in tables)


def assert_nowhere(canaries: tuple[str, ...], texts: dict[str, bytes]) -> None:
    """Fail if one of the canaries is in one of the texts, plain or as hex."""
    for canary in canaries:
        for where, text in texts.items():
            assert canary.encode() not in text, f"{canary} is in {where}"
            assert canary.encode().hex().encode() not in text, f"{canary} is in {where} as hex"


@pytest.mark.program
def test_nothing_leaks_from_the_served_program(program: Watched, data_dir: Path, database_url: str) -> None:
    """A day with successes, refusals, broken input and a broken database leaves values and tokens nowhere.

    Looked into are the answers, the log, the metrics, the trail, the database and all files beside it.
    """
    created = program("POST", "/v1/tokens", status=201, body='{"name":"ci","scopes":["secrets:write"]}')
    program.answers.clear()  # the one answer that shows a token, by design
    token = created.partition('"token":"')[2].partition('"')[0]
    assert len(token) == 64
    good = f'{{"name":"db","value":"{VALUE}"}}'
    program("POST", "/v1/secrets", status=200, body=good)
    program("POST", "/v1/secrets", status=200, token=token, body=good)
    program("POST", "/v1/policies", status=403, token=token, body=good)
    program("POST", "/v1/secrets", status=401, token=token[::-1], body=good)
    program("POST", f"/v1/secrets?token={token}&value={VALUE}", status=401, token="none", body=good)
    program("GET", f"/v1/audit?limit={VALUE}", status=400)
    program("GET", f"/v1/audit?token={ADMIN_TOKEN}&actor={VALUE}", status=400)
    for body in BAD_BODIES:
        program("POST", "/v1/secrets", status=400, body=body)
        program("POST", "/v1/tokens", status=400, body=body)
    behind(database_url, "ALTER TABLE audit_log RENAME TO hidden")
    program("POST", "/v1/secrets", status=200, body=good)
    behind(database_url, "ALTER TABLE hidden RENAME TO audit_log")
    behind(database_url, "CREATE UNIQUE INDEX broken ON secrets (key_id)")  # only one secret can be stored now
    program("POST", "/v1/secrets", status=409, token=token, body=good.replace("db", "other"))
    for path in ("/v1/secrets", "/v1/tokens", "/v1/audit?limit=500", "/metrics", "/health", "/openapi.json", "/docs"):
        program("GET", path, status=200)
    log = program.program.log.read_text()
    assert "the database refused a change" in log
    assert "an operation could not be recorded" in log
    files = [path for path in data_dir.rglob("*") if path.is_file() and path.name != "secrets.key"]
    assert program.program.log in files
    if database_url.startswith("sqlite"):
        assert {"yoq.db", "yoq.db-wal"} <= {path.name for path in files}
    texts = {path.name: path.read_bytes() for path in files}
    texts["the answers"] = "\n".join(program.answers).encode()
    texts["the database"] = database_text(database_url).encode()
    assert_nowhere((VALUE, ADMIN_TOKEN, token), texts)


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_nothing_leaks_from_the_command_line(data_dir: Path, database_url: str) -> None:
    """Commands that fail or list say nothing of a value; only `secret get` prints it."""
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN_TOKEN}
    said = []
    for arguments, stdin in (
        (["secret", "set", "db"], VALUE),
        (["secret", "set", "x" * 300], VALUE),
        (["secret", "list", "--json"], None),
        (["secret", "rotate", "db"], None),
        (["audit", "list", "--json"], None),
        (["token", "list", "--json"], None),
    ):
        done = command(data_dir, *arguments, stdin=stdin, **settings)
        said.append(done.stdout + done.stderr)
    behind(database_url, "DROP TABLE secrets")
    done = command(data_dir, "secret", "set", "db", stdin=VALUE, **settings)
    assert done.returncode != 0
    said.append(done.stdout + done.stderr)
    assert_nowhere((VALUE, ADMIN_TOKEN), {"what the commands said": "\n".join(said).encode()})


def test_a_token_is_stored_as_its_hash_only(api: Api, database_url: str) -> None:
    """The text of a token is in one answer, and the database cannot give it back."""
    answer = api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["apps:read"]})
    assert answer.json is not None
    (row,) = behind(database_url, "SELECT * FROM tokens")
    assert answer.json["token"] not in str(row)
    assert answer.json["token"] not in api("GET", "/v1/tokens").text


def test_no_value_is_readable_over_http(api: Api) -> None:
    """There is no route that answers with a value, for nobody."""
    api("POST", "/v1/secrets", json={"name": "db", "value": VALUE})
    for path in ("/v1/secrets", "/v1/secrets/db", "/v1/secrets/db/value"):
        assert VALUE not in api("GET", path).text


def test_reprs_hold_no_secret(app: Flask) -> None:
    """What a traceback, a debugger or a careless log line would show of our objects has no value or token in it."""
    settings = current_settings(app)
    assert settings.api_token
    cipher = Cipher(b"k" * 32)
    nonce, ciphertext = cipher.encrypt("db", VALUE)
    row = Secret(name="db", key_id=cipher.key_id, nonce=nonce, ciphertext=ciphertext, created_at=1, updated_at=1)
    created = TokenCreated(name="ci", scopes=["*"], token=ADMIN_TOKEN, expires_at=None)
    shown = [
        settings,
        app.extensions,
        app.config,
        cipher,
        row,
        created,
        SecretIn.model_validate({"name": "db", "value": VALUE}),
    ]
    text = "\n".join(f"{thing!r}\n{thing}" for thing in shown)
    assert_nowhere((VALUE, ADMIN_TOKEN, settings.api_token, "k" * 32), {"a repr": text.encode()})


def test_events_hold_no_secret(make_app: MakeApp) -> None:
    """What plugins are told of setting a secret does not include its value."""
    probe = Probe()
    app = make_app(probe)
    with acting(app):
        set_secret("db", VALUE)
        current_host(app).drain(10)
    assert len(probe.asked) == len(probe.committed) == 1
    assert VALUE not in repr(probe.asked) + repr(probe.committed)


def test_an_operation_declares_no_value(app: Flask) -> None:
    """No operation of secrets declares a detail but versions, which are numbers: no value is recorded by mistake.

    The one beside them is the file that an imported secret comes from, and is there for no other.
    """
    operations: dict[str, Operation] = current_operations(app)
    of_secrets = [operation for name, operation in operations.items() if name.startswith("secret_")]
    assert len(of_secrets) == 5
    assert {detail for operation in of_secrets for detail in operation.details} == {"version", "before", "origin"}
    with acting(app):
        for value in (VALUE, VALUE):
            set_secret("db", value)
        delete_secret("db")
    recorded = [entry["details"] for entry in Api(app).entries()]
    assert all(value is None or isinstance(value, int) for found in recorded for value in found.values())
