"""Keys and ciphertext: files of mode 0600, errors that say what to do, and secrets that open under their name only."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Api, MakeApp
from tests.support.door import acting, behind
from tests.support.served import command, free_port, serve
from yoq_web import Problem
from yoq_web.secrets.operations import get_secret, rotate_secret, set_secret

VALUE = "hunter2"


@pytest.fixture
def key(make_app: MakeApp, tmp_path: Path) -> Path:
    """The key's file, made by setting two secrets, `db` and `other`."""
    with acting(make_app()):
        set_secret("db", VALUE)
        set_secret("other", "of no interest")
    return tmp_path / "secrets.key"


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def rows(url: str) -> list[dict[str, Any]]:
    """The stored secrets."""
    return behind(url, "SELECT * FROM secrets ORDER BY name")


def value(make_app: MakeApp, name: str = "db") -> str:
    """A secret's value, read by a process that has just started."""
    with acting(make_app()):
        return get_secret(name)


def refusal(make_app: MakeApp) -> Problem:
    """What a process that has just started says to everything that needs the key; it must say the same to each."""
    found = []
    for act in (lambda: set_secret("db", "new"), lambda: get_secret("db"), lambda: rotate_secret("db")):
        with acting(make_app()), pytest.raises(Problem) as caught:
            act()
        found.append(caught.value)
    assert len({(problem.error, problem.detail) for problem in found}) == 1
    return found[0]


def test_the_key_is_private(key: Path) -> None:
    """The key's file is made at the first use, 32 bytes, readable by its owner only."""
    assert mode(key) == 0o600
    assert len(key.read_bytes()) == 32


@pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o666])
def test_a_key_open_to_others_is_refused(key: Path, make_app: MakeApp, database_url: str, open_mode: int) -> None:
    """A key that others may read or write is not used; the error says how to close it, and closing it is enough."""
    before = rows(database_url)
    key.chmod(open_mode)
    problem = refusal(make_app)
    assert problem.error == "the secrets key cannot be used"
    assert f"chmod 600 {key}" in str(problem.detail)
    assert rows(database_url) == before
    key.chmod(0o600)
    assert value(make_app) == VALUE


def test_another_key_is_refused(key: Path, make_app: MakeApp, database_url: str) -> None:
    """Under a key that is not the secrets' nothing is read or overwritten; putting the right one back is enough."""
    right, before = key.read_bytes(), rows(database_url)
    key.write_bytes(b"x" * 32)
    problem = refusal(make_app)
    assert problem.error == "wrong key"
    assert before[0]["key_id"] in str(problem.detail)
    assert rows(database_url) == before
    key.write_bytes(right)
    assert value(make_app) == VALUE


def test_a_missing_key_is_not_replaced(key: Path, make_app: MakeApp, database_url: str) -> None:
    """Where secrets are stored and their key is gone, no new one is made: the error names the file to put back."""
    right, before = key.read_bytes(), rows(database_url)
    key.unlink()
    problem = refusal(make_app)
    assert problem.error == "the secrets key is missing"
    assert str(key) in str(problem.detail)
    assert not key.exists()
    assert rows(database_url) == before
    key.write_bytes(right)
    key.chmod(0o600)
    assert value(make_app) == VALUE


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_half_a_key_is_refused(key: Path, make_app: MakeApp, database_url: str, content: bytes) -> None:
    """A key of the wrong length is no key, and is left as it is."""
    before = rows(database_url)
    key.write_bytes(content)
    assert refusal(make_app).error == "the secrets key cannot be used"
    assert key.read_bytes() == content
    assert rows(database_url) == before


def test_the_trail_says_that_the_key_failed(key: Path, make_app: MakeApp, database_url: str) -> None:
    """Over HTTP a key that cannot be used is a 500 with a clear text, recorded as a failure; no key is shown."""
    content = b"x" * 32
    key.write_bytes(content)
    api = Api(make_app())
    answer = api("POST", "/v1/secrets", json={"name": "db", "value": "new"})
    assert answer.status_code == 500
    assert answer.json is not None
    assert answer.json["error"] == "wrong key"
    assert content.decode() not in answer.text
    entry = api.entries(1)[0]
    assert (entry["action"], entry["outcome"], entry["reason"]) == ("secret_set", "failed", "wrong key")


@pytest.mark.parametrize(
    ("change", "source"),
    [
        ("nonce = o.nonce, ciphertext = o.ciphertext", "other"),
        ("nonce = o.nonce", "other"),
        ("nonce = substr(o.nonce, 1, 4)", "db"),
        ("ciphertext = substr(o.ciphertext, 1, 20)", "db"),
        ("ciphertext = substr(o.ciphertext, 1, 0)", "db"),
    ],
)
def test_a_tampered_secret_does_not_open(
    key: Path, make_app: MakeApp, database_url: str, change: str, source: str
) -> None:
    """Ciphertext moved to another name, or altered, is told from the real one; the others still open."""
    stored = "(SELECT * FROM secrets) AS o WHERE secrets.name = 'db'"
    behind(database_url, f"UPDATE secrets SET {change} FROM {stored} AND o.name = '{source}'")
    before = rows(database_url)
    for act in (get_secret, rotate_secret):
        with acting(make_app()), pytest.raises(Problem) as caught:
            act("db")
        assert caught.value.error == "the secret cannot be decrypted"
    assert rows(database_url) == before
    assert value(make_app, "other") == "of no interest"


def test_rotation_changes_all_but_the_value(key: Path, make_app: MakeApp, database_url: str) -> None:
    """A rotated secret has a new nonce and ciphertext, the same value and time of creation; others are untouched."""
    before, other = rows(database_url)
    with acting(make_app()):
        rotate_secret("db")
    after, still = rows(database_url)
    assert after["nonce"] != before["nonce"]
    assert after["ciphertext"] != before["ciphertext"]
    assert (after["key_id"], after["created_at"]) == (before["key_id"], before["created_at"])
    assert still == other
    assert value(make_app) == VALUE


def test_equal_values_look_different(make_app: MakeApp, database_url: str) -> None:
    """Nobody can see in the database that two secrets, or two versions of one, are the same."""
    app = make_app()
    seen: list[bytes] = []
    with acting(app):
        for name in ("a", "b", "a"):
            set_secret(name, VALUE)
            seen.extend(bytes(row["ciphertext"]) for row in rows(database_url) if row["name"] == name)
    assert len(set(seen)) == 3


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_first_start_makes_private_files(backend: str, tmp_path: Path) -> None:
    """The data directory and all that a first start puts there are the owner's only, and the token made works."""
    data_dir = tmp_path / "new" / "data"
    with serve(tmp_path, YOQ_DATA_DIR=str(data_dir)) as program:
        token = (data_dir / "api_token").read_text()
        headers = {"Authorization": f"Bearer {token}"}
        body = {"name": "db", "value": VALUE}
        assert requests.post(program.url + "/v1/secrets", headers=headers, json=body, timeout=30).status_code == 200
        files = {path.name: mode(path) for path in data_dir.iterdir()}
        assert f"The admin token is in {data_dir / 'api_token'}" in program.log.read_text()
        assert token not in program.log.read_text()  # only a terminal is shown it: anything else may be kept
    assert mode(data_dir) == 0o700
    assert {"api_token", "secrets.key", "yoq.db", "yoq.db-wal"} <= set(files)
    assert set(files.values()) == {0o600}
    with serve(tmp_path, YOQ_DATA_DIR=str(data_dir)) as program:
        assert requests.get(program.url + "/v1/secrets", headers=headers, timeout=30).json() == ["db"]
        assert token not in program.log.read_text()


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("content", "open_mode", "said"),
    [("a" * 64, 0o644, "chmod 600"), ("a" * 63, 0o600, "64 lower-case hex"), ("A" * 64, 0o600, "64 lower-case hex")],
)
def test_an_admin_token_of_no_use_stops_the_start(
    backend: str, tmp_path: Path, content: str, open_mode: int, said: str
) -> None:
    """A token file that others may read, or that holds no token, ends the start with one line that says what to do."""
    path = tmp_path / "api_token"
    path.write_text(content)
    path.chmod(open_mode)
    done = command(tmp_path, "serve", "--port", str(free_port()))
    assert done.returncode == 1
    assert said in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert content not in done.stdout + done.stderr
    assert path.read_text() == content
