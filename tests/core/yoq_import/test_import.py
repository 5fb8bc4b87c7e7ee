"""The import from yoq's own database: what it brings, that it can be repeated, what it leaves alone, what it says."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.commandline import LOCAL, failure, output, run
from tests.support.plugins import Made
from tests.support.yoq_database import YoqDatabase
from yoq_web import Event, Veto
from yoq_web.yoq_import.encryption import decrypt, derive_subkey


@pytest.fixture
def yoq(tmp_path: Path) -> YoqDatabase:
    """A data directory of yoq's with something of everything."""
    database = YoqDatabase(tmp_path / "yoq")
    database.set_secret("db", b"hunter2")
    database.set_secret("key", "-----BEGIN\nπ\n".encode())
    database.set_secret("empty", b"")
    database.add_policy("web", "db", "allow", 3000)
    database.add_policy("web", "*", "deny", 2000)
    database.run("INSERT INTO audit_log (recorded_at, actor, action, outcome) VALUES (1, 'local', 'backup', 'ok')")
    return database


def details(api: Api) -> list[tuple[str, str | None, str, dict[str, Any]]]:
    """(action, target, outcome, details) of the entries, the oldest first, without who it was."""
    return [
        (
            entry["action"],
            entry["target"],
            entry["outcome"],
            {name: value for name, value in entry["details"].items() if name not in LOCAL},
        )
        for entry in reversed(api.entries())
    ]


def done(**counts: object) -> dict[str, object]:
    """The details of the whole import's entry."""
    return {"brought": [], "overwritten": [], "equal": [], "differing": [], "refused": [], "dry_run": False} | counts


def test_everything_is_brought_once(app: Flask, api: Api, yoq: YoqDatabase) -> None:
    """Values, rules in their order, and tokens that go on working; each with its entry, and one of the whole.

    A second time nothing is changed. yoq's files stay as they are.
    """
    text = yoq.create_token("ci", "secrets:read, apps:write", expires_at=4_000_000_000)
    yoq.create_token("old", "*", revoked_at=2000)
    yoq.create_token("late", "*", expires_at=2000)
    before = yoq.read()
    path = str(yoq.path)
    assert output(app, "import-yoq", path) == (
        "secrets: 3 brought\n"
        "policies: 2 brought\n"
        "tokens: 1 brought, 2 left out\n"
        "  token late: left out: it has expired\n"
        "  token old: left out: it is revoked\n"
        "not imported: entries of yoq's audit log (1)\n"
    )
    assert yoq.read() == before
    origin = {"origin": path}
    ends = [{"source": "web", "destination": other} for other in ("*", "db")]
    secret = ("ok", {"version": 1, "before": None} | origin)
    assert details(api) == [
        ("secret_set", "db", *secret),
        ("secret_set", "empty", *secret),
        ("secret_set", "key", *secret),
        ("policy_add", "web->*", "ok", ends[0] | {"action": "deny", "before": None} | origin),
        ("policy_add", "web->db", "ok", ends[1] | {"action": "allow", "before": None} | origin),
        ("token_create", "ci", "ok", {"scopes": ["secrets:read", "apps:write"], "expires_at": 4_000_000_000} | origin),
        ("yoq_import", path, "ok", done(brought=["secret 3", "policy 2", "token 1"])),
    ]
    assert output(app, "secret", "get", "key") == "-----BEGIN\nπ\n\n"
    assert output(app, "secret", "get", "empty") == "\n"
    assert [rule["target"] for rule in api("GET", "/v1/policies").get_json()] == ["*", "db"]
    assert api.with_token(text)("GET", "/v1/secrets").get_json() == ["db", "empty", "key"]
    assert api.with_token(text)("GET", "/v1/policies").status_code == 403
    again = output(app, "import-yoq", path)
    assert again.splitlines()[:3] == ["secrets: 3 equal", "policies: 2 equal", "tokens: 1 equal, 2 left out"]
    assert details(api)[-1] == ("yoq_import", path, "ok", done(equal=["secret 3", "policy 2", "token 1"]))
    assert not list(yoq.path.parent.parent.glob(".yoq-import*"))


def test_what_differs_is_named_and_taken_if_asked_for(app: Flask, api: Api, yoq: YoqDatabase) -> None:
    """What is another here stays, until --overwrite; of a token only a revocation can be taken."""
    path = str(yoq.path)
    for name in ("ci", "shared"):
        yoq.create_token(name, "secrets:read")
    output(app, "import-yoq", path)
    output(app, "secret", "set", "db", "--value", "newer")
    output(app, "policy", "deny", "web", "db")
    yoq.run("UPDATE tokens SET revoked_at = 5000 WHERE name = 'ci'")
    yoq.run("UPDATE tokens SET secret_hash = 'x' WHERE name = 'shared'")
    yoq.set_secret("new", b"new")
    told = (
        "  secret db: differs: --overwrite takes the file's\n"
        "  policy web->db: differs: deny here, allow there; --overwrite takes the file's\n"
        "  token ci: differs: active here, revoked there; --overwrite takes the file's\n"
        "  token shared: differs: another token has this name here, and names are never given twice\n"
    )
    said = output(app, "import-yoq", path, "--dry-run")
    assert said.startswith("secrets: 1 would be brought, 2 equal, 1 differs\npolicies: 1 equal, 1 differs\n")
    assert told in said
    assert said.endswith("nothing was changed\n")
    assert details(api)[-1][3]["dry_run"] is True
    assert output(app, "secret", "list").split() == ["db", "empty", "key"]
    assert told in output(app, "import-yoq", path)
    assert output(app, "secret", "get", "db") == "newer\n"
    count = len(api.entries())
    said = output(app, "import-yoq", path, "--overwrite")
    assert said.startswith(
        "secrets: 1 overwritten, 3 equal\npolicies: 1 overwritten, 1 equal\ntokens: 1 overwritten, 1 diff"
    )
    found = details(api)[count:]
    assert [entry[:3] for entry in found] == [
        ("secret_set", "db", "ok"),
        ("policy_add", "web->db", "ok"),
        ("token_revoke", "ci", "ok"),
        ("yoq_import", path, "ok"),
    ]
    assert all(entry[3]["origin"] == path for entry in found[:3])
    assert found[-1][3]["overwritten"] == ["secret 1", "policy 1", "token 1"]
    assert output(app, "secret", "get", "db") == "hunter2\n"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_cannot_be_brought(make_app: MakeApp, yoq: YoqDatabase) -> None:
    """Each is named with the reason, the others come, the exit code is 1, and no value is shown."""

    def refuse(event: Event) -> None:
        if event.target == "forbidden":
            raise Veto("not that one")

    app = make_app(Made("guardian", yoq_before_operation=refuse))
    yoq.set_secret("binary", b"\xff\xfe")
    yoq.set_secret("other", b"x", key=bytes(32))
    yoq.set_secret("forbidden", b"x")
    yoq.set_secret("..", b"x")
    yoq.set_secret("long" * 100, b"x")
    yoq.run("INSERT INTO secrets SELECT CAST(x'ff41' AS TEXT), encrypted_value, nonce, tag, 1, 1 FROM secrets LIMIT 1")
    yoq.add_policy("a", "b", "maybe")
    yoq.create_token("images", "images:prune")
    yoq.create_token("api-token", "*")
    yoq.create_token("a\x1b[31m", "*")
    result = run(app, "import-yoq", str(yoq.path))
    assert (result.exit_code, result.stderr) == (1, "some could not be brought\n")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["secrets: 3 brought, 6 refused", "policies: 2 brought, 1 refused", "tokens: 3 refused"]
    told = dict(line.strip().split(": refused: ") for line in lines if ": refused: " in line)
    assert told["secret binary"] == "its value is not UTF-8 text"
    assert told["secret other"] == "it cannot be decrypted: it was altered, or made under another key"
    assert told["secret forbidden"] == "not that one"
    assert told["secret .."] == "invalid name: name: clients take it for a step in a path"
    assert "invalid name" in told["secret \\udcffA"]
    assert told["policy a->b"] == "action must be 'deny' or 'allow'"
    assert told["token images"].startswith("invalid scope: images:prune")
    assert told["token api-token"].startswith("the name is reserved")
    assert "printable" in told["token a\\x1b[31m"]
    assert "hunter2" not in result.output
    entry = details(Api(app))[-1]
    assert (entry[0], entry[2]) == ("yoq_import", "failed")
    assert entry[3]["refused"] == ["secret 6", "policy 1", "token 3"]
    found = json.loads(run(app, "import-yoq", str(yoq.path), "--json", "--dry-run").stdout)
    assert (len(found["equal"]), len(found["refused"]), found["dry_run"]) == (5, 9, True)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_files_of_no_use(app: Flask, api: Api, yoq: YoqDatabase, tmp_path: Path) -> None:
    """Each is refused in a line that says what it is, before anything is changed; that it was tried is recorded."""
    files: dict[str, tuple[str | bytes, ...]] = {
        "it is no SQLite database": (b"", b"not a database at all, but long enough to be one"),
        "it is an encrypted backup": (b"YOQBKP1\n" + bytes(100),),
        "it is damaged": (yoq.path.read_bytes()[:5000] + b"\xff" * 40_000,),
        "it is no database of yoq: it has no table secrets": ("DROP TABLE secrets",),
        "it is no database of yoq: the table secrets lacks tag": ("ALTER TABLE secrets DROP COLUMN tag",),
        "it was made by a newer yoq than this version knows: secrets has key_id": (
            "ALTER TABLE secrets ADD COLUMN key_id TEXT",
        ),
        "it was made by a newer yoq than this version knows: it has a schema version": ("PRAGMA user_version = 7",),
        "it holds what yoq does not store there": ("UPDATE secrets SET nonce = 7", "UPDATE tokens SET scopes = x'00'"),
    }
    yoq.create_token("ci", "*")
    for reason, cases in files.items():
        for case in cases:
            path = tmp_path / "bad.db"
            for leftover in tmp_path.glob("bad.db*"):
                leftover.unlink()
            if isinstance(case, bytes):
                path.write_bytes(case)
            else:
                shutil.copy(yoq.path, path)
                with closing(sqlite3.connect(path)) as connection:
                    connection.execute(case)
                    connection.commit()
            said = failure(app, "import-yoq", str(path), "--key", str(yoq.key))
            assert said.startswith(f"{path} cannot be imported: {reason}"), (case, said)
            assert len(said.splitlines()) == 1
            assert details(api)[-1] == ("yoq_import", str(path), "failed", {"dry_run": False})
            assert api.entries(1)[0]["reason"] == said.strip()
    assert "a database of yoq-web itself" in failure(app, "import-yoq", str(tmp_path / "yoq.db"))
    assert failure(app, "import-yoq", str(tmp_path / "none")).endswith(
        "cannot be imported: No such file or directory\n"
    )
    assert failure(app, "import-yoq", str(tmp_path)).endswith("cannot be imported: it is no file\n")
    os.mkfifo(tmp_path / "pipe")
    assert failure(app, "import-yoq", str(tmp_path / "pipe")).endswith("cannot be imported: it is no file\n")
    assert {entry["action"] for entry in api.entries()} == {"yoq_import"}
    assert not list(tmp_path.glob(".yoq-import*"))


@pytest.mark.parametrize("backend", ["sqlite"])
def test_keys_of_no_use(app: Flask, api: Api, yoq: YoqDatabase, tmp_path: Path) -> None:
    """A key that is missing, open to others, of another length or another machine's: a line each, nothing changed.

    It is asked for only where there are secrets, and the rest can be brought without.
    """
    path, key = str(yoq.path), tmp_path / "other.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    assert failure(app, "import-yoq", path, "--key", str(key)).startswith("the key opens none of the secrets: ")
    key.write_bytes(bytes(31))
    assert "does not hold 32 bytes" in failure(app, "import-yoq", path, "--key", str(key))
    key.chmod(0o644)
    assert "is open to other users" in failure(app, "import-yoq", path, "--key", str(key))
    yoq.key.unlink()
    said = failure(app, "import-yoq", path)
    assert said.startswith(f"the key of yoq's secrets is missing: there is no {yoq.key};")
    assert len(said.splitlines()) == 1
    assert {(entry["action"], entry["outcome"]) for entry in api.entries()} == {("yoq_import", "failed")}
    said = output(app, "import-yoq", path, "--without-secrets")
    assert said.splitlines()[:2] == ["secrets: none", "policies: 2 brought"]
    assert "not imported: secrets (3)" in said
    assert "either" in failure(app, "import-yoq", path, "--without-secrets", "--key", str(key))
    yoq.run("DELETE FROM secrets")
    assert output(app, "import-yoq", path).startswith("secrets: none\npolicies: 2 equal\n")


@pytest.mark.parametrize("backend", ["sqlite"])
def test_beside_a_running_yoq(app: Flask, yoq: YoqDatabase) -> None:
    """What yoq has in its write-ahead log counts, and its files are not touched, nor its lock waited for.

    An older yoq had no tokens.
    """
    yoq.run("DROP TABLE tokens")
    with closing(sqlite3.connect(yoq.path, isolation_level=None)) as running:
        running.execute("PRAGMA wal_autocheckpoint=0")
        running.execute("DELETE FROM secrets WHERE name = 'empty'")
        running.execute("BEGIN IMMEDIATE")
        running.execute("DELETE FROM secrets")
        before = yoq.read()
        assert "yoq.db-wal" in before
        assert output(app, "import-yoq", str(yoq.path)).startswith("secrets: 2 brought\n")
        assert yoq.read() == before
        running.execute("ROLLBACK")


def test_the_cipher_is_the_standard_one() -> None:
    """The subkey and the cipher are those of draft-irtf-cfrg-xchacha-03 (2.2.1, A.3.1), which yoq's Zig implements."""
    subkey = derive_subkey(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    assert subkey.hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    key, nonce = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58))
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen"
        b" would be it."
    )
    cipher = ChaCha20Poly1305(derive_subkey(key, nonce[:16]))
    sealed = cipher.encrypt(bytes(4) + nonce[16:], text, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert sealed[:16].hex() == "bd6d179d3e83d43b9576579493c0e939"
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"
    sealed = cipher.encrypt(bytes(4) + nonce[16:], text, None)
    assert decrypt(key, nonce, sealed[:-16], sealed[-16:]) == text
    assert decrypt(key, nonce, sealed[:-16], bytes(16)) is None
    assert decrypt(key, nonce[:12], sealed[:-16], sealed[-16:]) is None
