"""Restoring where the log is another one, or none: on a new machine, after a loss, over a log that went its own way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.audit.proofs.test_proofs import check
from tests.conftest import ADMIN, Api, MakeApp
from tests.support.backup import alone, backup, holds, lose, names, restore, trail
from tests.support.commandline import failure, output
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade

Elsewhere = Callable[[str], Flask]


@pytest.fixture
def elsewhere(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Elsewhere]:
    """Builds an application on another machine: a database and a data directory of its own, both new."""
    made: list[Flask] = []

    def make(name: str) -> Flask:
        folder = tmp_path / name
        folder.mkdir()
        url = f"sqlite:///{folder / 'yoq.db'}"
        if backend == "postgresql":
            server = request.getfixturevalue("postgres")
            url = server.url(server.create())
        app = create_app(
            {"YOQ_DATA_DIR": str(folder), "YOQ_DATABASE_URL": url, "YOQ_API_TOKEN": ADMIN, "YOQ_NODE": name}
        )
        with app.app_context():
            upgrade()
        made.append(app)
        return app

    yield make
    alone(*made)


def filled(app: Flask, *secrets: str) -> None:
    """Set these secrets."""
    api = Api(app)
    for name in secrets:
        assert api("POST", "/v1/secrets", json={"name": name, "value": f"{name}-value"}).status_code == 200


def test_a_new_machine(app: Flask, tmp_path: Path, elsewhere: Elsewhere) -> None:
    """With the keys in the backup a new machine takes over: secrets open, the log goes on, old proofs hold."""
    filled(app, "a", "b")
    event = Api(app).entries(1)[0]["event_id"]
    output(app, "audit", "prove", event, "-o", str(tmp_path / "p"), "--entry", str(tmp_path / "e"))
    key = output(app, "audit", "key").strip()
    path = backup(app, tmp_path / "b.yoqbackup", "--with-keys")
    new = elsewhere("new")
    identity = ("--identity", str(tmp_path / "backup.key"))
    assert "there is no" in failure(new, "restore", str(path), "--yes")
    said = restore(new, path, *identity)
    assert "the key file secrets.key was put back" in said
    assert "the key file log.key was put back" in said
    assert output(new, "secret", "get", "a") == "a-value\n"
    assert output(new, "audit", "key").strip() == key
    assert holds(new)
    assert check(tmp_path / "p", tmp_path / "e", key)[0] == 0
    done = [(action, outcome) for action, _, outcome in trail(new)]
    assert done[:2] == [("secret_set", "ok"), ("secret_set", "ok")]
    assert ("restore", "started") in done
    assert done.index(("restore", "ok")) > done.index(("restore", "started"))


def test_a_lost_database(app: Flask, tmp_path: Path, backend: str) -> None:
    """If the database is lost and the head outside knows more than the backup, the log cannot simply go on."""
    filled(app, "a")
    path = backup(app, tmp_path / "b.yoqbackup")
    filled(app, "b")
    assert holds(app)
    old = output(app, "audit", "key").strip()
    head = (tmp_path / "log.head").read_text().splitlines()
    lose(app, backend, tmp_path)
    alone(app)
    said = failure(app, "restore", str(path), "--yes")
    assert "two logs would come of it: the present log is lost" in said
    assert "--accept-fork" in said
    assert failure(app, "restore", str(path), "--yes", "--accept-fork", "--no-keep")
    lose(app, backend, tmp_path)
    restore(app, path, "--accept-fork")
    new = output(app, "audit", "key").strip()
    assert new != old
    assert names(Api(app)) == ["a"]
    assert holds(app)
    details = next(found["details"] for found in Api(app).entries() if found["action"] == "restore")
    assert details["begins_anew"] == [" ".join(head[:3])]
    assert list(tmp_path.glob("log.key.of-*"))
    assert list(tmp_path.glob("log.head.of-*"))
    # What the backup had of the trail is in the new log.
    assert trail(app)[0] == ("secret_set", "a", "ok")
    # The next restore of a backup of the new log is none of a fork.
    restore(app, backup(app, tmp_path / "next"))
    assert holds(app)


def test_a_fork(app: Flask, tmp_path: Path, elsewhere: Elsewhere) -> None:
    """A backup of another log is refused, and changes nothing; accepting it begins a log that names the old one."""
    filled(app, "a")
    path = backup(app, tmp_path / "b.yoqbackup")
    other = elsewhere("other")
    filled(other, "x", "y")
    assert holds(other)
    identity = ("--identity", str(tmp_path / "backup.key"))
    assert "is not the beginning of the present one" in failure(other, "restore", str(path), "--verify", *identity)
    alone(other)
    assert "is not the beginning of the present one" in failure(other, "restore", str(path), "--yes", *identity)
    assert names(Api(other)) == ["x", "y"]
    assert ("restore", str(path), "failed") in trail(other)
    size = len(trail(other))
    assert "begins anew" in restore(other, path, "--accept-fork", *identity)
    assert holds(other)
    assert names(Api(other)) == ["a"]
    details = next(found["details"] for found in Api(other).entries() if found["action"] == "restore")
    assert int(details["begins_anew"][0].split()[1]) == size


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_database_that_is_put_back_by_hand(app: Flask, api: Api, make_app: MakeApp, tmp_path: Path) -> None:
    """A copy of the database that somebody put in place is behind the head; restoring over it is a fork, too."""
    filled(app, "a")
    path = backup(app, tmp_path / "b.yoqbackup")
    alone(app)
    shutil.copy(tmp_path / "yoq.db", tmp_path / "copy")
    output(app, "secret", "set", "b", "--value", "v")
    assert holds(app)
    alone(app)
    for beside in tmp_path.glob("yoq.db-*"):
        beside.unlink()
    shutil.copy(tmp_path / "copy", tmp_path / "yoq.db")
    assert "log.head was signed for" in failure(app, "restore", str(path), "--yes")
    with app.app_context():
        db.engine.dispose()
