"""What the tests of backups share: an application with something of everything, and what its database holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.conftest import Api, MakeApp
from tests.support.apps import Shop, service
from tests.support.commandline import output, run
from tests.support.door import behind
from tests.support.postgres import programs_first
from yoq_web import db
from yoq_web.database.migrations import upgrade

TRAIL = "audit_"
"""How the tables of the trail begin, which a restore leaves as they are."""

Rows = list[tuple[Any, ...]]


def url_of(app: Flask) -> str:
    """The application's database."""
    url: str = app.config["SQLALCHEMY_DATABASE_URI"]
    return url


def content(app: Flask) -> dict[str, Rows]:
    """Every row of every table but the trail's."""
    engine = create_engine(url_of(app), poolclass=NullPool)
    with engine.connect() as connection:
        names = [name for name in inspect(connection).get_table_names() if not name.startswith(TRAIL)]
        found = {
            name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}"))), key=repr) for name in names
        }
    engine.dispose()
    return found


def some_of_everything(make_app: MakeApp, *plugins: object) -> Shop:
    """An application with rows in the tables of every domain."""
    shop = Shop(make_app)
    api = shop.operator
    for name in ("db", "mail"):
        assert api("POST", "/v1/secrets", json={"name": name, "value": f"{name}-value"}).status_code == 200
    assert api("POST", "/v1/policies", json={"source": "web", "target": "db", "action": "deny"}).status_code == 200
    api.token("secrets:read", name="reader")
    shop.join()
    shop.apply(service("web"))
    return shop


def backup(app: Flask, path: Path, *arguments: str) -> Path:
    """Take a backup at the command line."""
    result = run(app, "backup", "--output", str(path), *arguments)
    assert result.exit_code == 0, result.output
    assert f"backup written: {path}" in result.stdout
    return path


def restore(app: Flask, path: Path, *arguments: str) -> str:
    """Restore a backup at the command line; returns what that says."""
    alone(app)
    return output(app, "restore", str(path), "--yes", *arguments)


def alone(*apps: Flask) -> None:
    """Let go of the database: a restore wants it alone."""
    for app in apps:
        with app.app_context():
            db.session.close()
            db.engine.dispose()


def holds(app: Flask) -> bool:
    """Whether the whole log verifies."""
    return run(app, "audit", "verify").exit_code == 0


def trail(app: Flask) -> Sequence[tuple[str, str | None, str]]:
    """(action, target, outcome) of every row of the trail, the oldest first."""
    rows = behind(url_of(app), "SELECT action, target, outcome FROM audit_log ORDER BY id")
    return [(row["action"], row["target"], row["outcome"]) for row in rows]


def names(api: Api) -> list[str]:
    """The names of the secrets."""
    found: list[str] = api("GET", "/v1/secrets").get_json()
    return found


def lose(app: Flask, backend: str, folder: Path) -> None:
    """Lose the database: an empty one takes its place."""
    alone(app)
    if backend == "sqlite":
        for path in folder.glob("yoq.db*"):
            path.unlink()
        (folder / "yoq.db").touch()
    else:
        behind(url_of(app), "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with app.app_context():
        upgrade()
    alone(app)


def begin_anew(app: Flask, backend: str, folder: Path) -> None:
    """Lose the database, and restore a backup that does not have all of the log: another log begins."""
    with pytest.MonkeyPatch.context() as environment:
        use_postgres_programs(environment)
        path = backup(app, folder / "anew.yoqbackup")
        assert Api(app)("GET", "/v1/secrets").status_code == 200
        assert holds(app)
        lose(app, backend, folder)
        assert "begins anew" in restore(app, path, "--accept-fork")


def use_postgres_programs(environment: pytest.MonkeyPatch) -> None:
    """Put pg_dump and pg_restore of the tests' server into PATH."""
    environment.setenv("PATH", programs_first())
