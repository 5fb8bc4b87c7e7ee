"""What is not restored: damaged files, foreign ones, newer ones. Nothing is changed, and nobody sees a traceback."""

from __future__ import annotations

import random
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic import command
from flask import Flask
from sqlalchemy import make_url
from sqlalchemy.exc import ProgrammingError

from tests.conftest import Api
from tests.support.backup import alone, backup, content, restore, trail, url_of
from tests.support.commandline import failure, output, run
from tests.support.door import acting, behind
from tests.support.served import serve
from yoq_web import current_settings, db
from yoq_web.backup import age, manifest, operations, postgres
from yoq_web.backup.workdir import lock_workdir
from yoq_web.database import locks
from yoq_web.database.engine import make_engine
from yoq_web.database.migrations import find_lineage, list_standings, make_configuration, upgrade

FLIPS = 15


@pytest.mark.parametrize("backend", ["sqlite"])
def test_damaged_files(app: Flask, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte changed anywhere, a part cut off, moved, doubled or added: refused, however the backup is sealed."""
    monkeypatch.setattr(age.encrypt_with_passphrase, "__defaults__", (4,))
    secret = tmp_path / "pass"
    secret.write_text("correct horse")
    api("POST", "/v1/secrets", json={"name": "a", "value": "v"})
    kinds: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "own": ((), ()),
        "passphrase": (("--passphrase-file", str(secret)),) * 2,
        "plain": (("--plain",), ()),
    }
    bad = tmp_path / "bad"
    generator = random.Random(7)  # noqa: S311 - the same bytes in each run
    before = None
    for kind, (taking, opening) in kinds.items():
        whole = backup(app, tmp_path / kind, *taking).read_bytes()
        before = content(app)
        for damaged in damages(whole, generator):
            bad.write_bytes(damaged)
            said = failure(app, "restore", str(bad), "--verify", *opening)
            assert "the backup cannot be opened" in said or "there is no" in said, said
    alone(app)
    assert "the backup cannot be opened" in failure(app, "restore", str(bad), "--yes")
    assert content(app) == before
    assert trail(app)[-1] == ("restore", str(bad), "failed")
    assert not list(tmp_path.glob(".yoq-work-*"))


def damages(whole: bytes, generator: random.Random) -> list[bytes]:
    """Damaged copies of a file: bytes of each region, the first and the last ones among them; parts."""
    size = len(whole)
    step = size // FLIPS
    places = {*range(0, 400, 23), *range(size - 400, size, 23), size - 1}
    places |= {start + generator.randrange(step) for start in range(0, size - step, step)}
    found = [whole[:at] + bytes([whole[at] ^ 1 << generator.randrange(8)]) + whole[at + 1 :] for at in sorted(places)]
    found += [whole[:at] for at in (0, 1, 100, 600, size // 2, size - 70_000, size - 1024, size - 1)]
    chunk = age.CHUNK + age.TAG
    found += [
        whole + b"\0",
        whole + whole,
        whole[: size // 2] + whole[size // 2 + 512 :],
        whole[:-chunk] + whole[-chunk // 2 :],
        whole[:1000] + whole[1000 + chunk : 1000 + 2 * chunk] + whole[1000 : 1000 + chunk] + whole[1000 + 2 * chunk :],
    ]
    return found


Change = Callable[[sqlite3.Connection], object]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_databases_that_do_not_hold(app: Flask, api: Api, tmp_path: Path) -> None:
    """A well-made file with a database that lacks something, or was altered, is refused with the reason."""
    for name in ("a", "b"):
        api("POST", "/v1/secrets", json={"name": name, "value": "v"})
    changes: dict[str, str | tuple[str, ...]] = {
        "the table policies is missing": "DROP TABLE policies",
        "the table tokens lacks label": (
            "CREATE TABLE t AS SELECT id, name, secret_hash, scopes, created_at, expires_at, revoked_at FROM tokens",
            "DROP TABLE tokens",
            "ALTER TABLE t RENAME TO tokens",
        ),
        "the table audit_log is missing": "DROP TABLE audit_log",
        "made by a newer version": "UPDATE alembic_version SET version_num = 'core999'",
        "its audit log does not hold": (
            "DROP TRIGGER audit_log_no_update",
            "UPDATE audit_log SET target = 'b' WHERE target = 'a'",
        ),
        "is not a database of yoq-web": "DROP TABLE alembic_version",
        "refers to nothing": (
            "PRAGMA foreign_keys=OFF",
            "CREATE TABLE stray (id INTEGER REFERENCES policies (id))",
            "INSERT INTO stray VALUES (77)",
        ),
    }
    before = content(app)
    original = manifest.count_rows
    for reason, statements in changes.items():
        path = tmp_path / "b.tar"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manifest, "count_rows", changed(statements, original))
            backup(app, path, "--plain", "--overwrite")
        assert reason in failure(app, "restore", str(path), "--verify"), reason
    assert content(app) == before


def changed(statements: str | tuple[str, ...], then: Callable[..., dict[str, int]]) -> Callable[..., dict[str, int]]:
    """A backup's counting of rows, before which somebody alters the copy: the manifest is about what is there then."""

    def count(connection: object) -> dict[str, int]:
        engine = connection.engine  # type: ignore[attr-defined]
        with closing(sqlite3.connect(str(engine.url.database), isolation_level=None)) as bare:
            for statement in (statements,) if isinstance(statements, str) else statements:
                bare.execute(statement)
        return then(connection)

    return count


@pytest.mark.program
def test_an_older_and_a_newer_backup(app: Flask, api: Api, tmp_path: Path) -> None:
    """The backup of an older version is migrated forward; that of a newer one is refused."""
    api("POST", "/v1/secrets", json={"name": "a", "value": "v"})
    path = tmp_path / "older"
    with app.app_context():
        command.downgrade(make_configuration(find_lineage("core")), "-1")
    with acting(app):
        operations.take_backup(path)
    with app.app_context():
        upgrade()
        wanted = [str(standing) for standing in list_standings()]
    api("DELETE", "/v1/secrets/a")
    assert "to be migrated: core: " in restore(app, path)
    with app.app_context():
        assert [str(standing) for standing in list_standings()] == wanted
    assert output(app, "secret", "list") == "a\n"
    newer = "UPDATE alembic_version SET version_num = 'core999'"
    was = behind(url_of(app), "SELECT version_num FROM alembic_version")[0]["version_num"]
    behind(url_of(app), newer)
    with acting(app):
        operations.take_backup(path, replace=True)
    behind(url_of(app), f"UPDATE alembic_version SET version_num = '{was}'")
    assert "made by a newer version" in failure(app, "restore", str(path), "--verify")


@pytest.mark.program
def test_a_running_server(app: Flask, database_url: str, tmp_path: Path) -> None:
    """While a server runs on the database nothing is restored, and the reason is given; other commands go on."""
    output(app, "secret", "set", "a", "--value", "v")
    path = backup(app, tmp_path / "b")
    folder = tmp_path / "server"
    folder.mkdir()
    with serve(folder, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN="a" * 64):
        alone(app)
        said = failure(app, "restore", str(path), "--yes")
        assert "the database is in use" in said
        entry = Api(app).entries(1)[0]
        assert (entry["action"], entry["target"], entry["outcome"]) == ("restore", str(path), "failed")
        assert entry["reason"].startswith("the database is in use: ")
        assert output(app, "secret", "list") == "a\n"
        alone(app)
    restore(app, path)


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("checked", ["at the beginning", "at the end"])
def test_a_session_that_just_ends(app: Flask, database_url: str, checked: str) -> None:
    """Whoever closed its connection a moment ago is not told to do so; who stays is, and nothing is changed."""
    url = make_url(database_url)
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    other = make_engine(url.set(database=f"{url.database}_other"))

    def look() -> None:
        if checked == "at the beginning":
            postgres.check_alone(db.engine)
        else:
            postgres.swap(db.engine, other, keep=True)  # which is not there: found out once nobody is connected

    with app.app_context():
        with psycopg.connect(address), pytest.raises(locks.InUse):
            look()
        ending = psycopg.connect(address)
        end = threading.Timer(0.3, ending.close)
        end.start()
        if checked == "at the beginning":
            look()
        else:
            with pytest.raises(ProgrammingError):
                look()
        end.join()


def test_another_restore_at_work(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and recorded when the other one has ended: until then nobody touches the database."""
    output(app, "secret", "set", "a", "--value", "v")
    path = backup(app, tmp_path / "b")
    alone(app)
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0)
    with app.app_context():
        settings = current_settings()
    with locks.use_alone(settings), lock_workdir(settings):
        said = failure(app, "restore", str(path), "--yes")
        failure(app, "restore", str(path), "--verify")
    assert said.endswith("\ntry again when that has ended\n")
    assert output(app, "secret", "list") == "a\n"
    refused = [entry for entry in Api(app).entries() if entry["action"] == "restore"]
    assert [(entry["target"], entry["outcome"], entry["actor"]) for entry in refused] == [
        (str(path), "failed", "local")
    ]
    assert refused[0]["reason"] == said.strip().replace("\n", ": ")
    alone(app)
    restore(app, path)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_another_program_that_has_the_database_open(app: Flask, tmp_path: Path) -> None:
    """A program that is none of ours has the file open: it would go on writing to what is no longer there."""
    output(app, "secret", "set", "a", "--value", "v")
    path = backup(app, tmp_path / "b")
    with closing(sqlite3.connect(tmp_path / "yoq.db")) as stranger:
        stranger.execute("BEGIN")
        stranger.execute("SELECT count(*) FROM secrets").fetchone()
        alone(app)
        result = run(app, "restore", str(path), "--yes")
        assert (result.exit_code, "another program has" in result.stderr) == (1, True)
    assert trail(app)[-1] == ("restore", str(path), "failed")
    assert output(app, "secret", "list") == "a\n"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_opened_without_yoq_web(app: Flask, tmp_path: Path) -> None:
    """A plain backup is a tar file with an SQLite database in it, whose checksums anybody can check."""
    import hashlib  # noqa: PLC0415 - the outsider's tool

    output(app, "secret", "set", "a", "--value", "v")
    path = backup(app, tmp_path / "b", "--plain")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "out")  # noqa: S202 - of our own making
    listed = (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()
    for line in listed:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    with closing(sqlite3.connect(tmp_path / "out" / "yoq.db")) as database:
        assert database.execute("SELECT name FROM secrets").fetchall() == [("a",)]
