"""What the tests share: an application on either database, a client for it, and the served program over real HTTP."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support import postgres as postgres_server
from tests.support import served as served_program
from tests.support.postgres import Postgres
from tests.support.served import Served, serve
from yoq_web import create_app, current_spool, db
from yoq_web.database.migrations import upgrade

# Many tests start the program: without its bytecode each start would compile all of it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ADMIN = "a" * 64
"""The admin token of every application under test."""

MakeApp = Callable[..., Flask]


class Api:
    """A client of one application that sends a token, the administrator's unless told."""

    def __init__(self, app: Flask, token: str | None = ADMIN) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send one request; `headers` are added to the token's."""
        headers = {**self.headers, **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **options)

    def with_token(self, token: str | None) -> Api:
        """The same client with another token, or none."""
        return Api(self.app, token)

    def token(self, *scopes: str, name: str = "ci") -> Api:
        """A client with a new named token of these scopes."""
        answer = self("POST", "/v1/tokens", json={"name": name, "scopes": list(scopes)})
        assert answer.status_code == 201, answer.text
        return self.with_token(answer.json["token"])  # type: ignore[index]

    def entries(self, limit: int = 500) -> list[dict[str, Any]]:
        """The trail, the newest entry first."""
        answer = self.with_token(ADMIN)("GET", f"/v1/audit?limit={limit}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json  # type: ignore[assignment]
        return found


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of tests that are slow."""
    config.addinivalue_line("markers", "program: starts the program as a process of its own")


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what was imported, and look seldom: it took a third of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold the tests to their marker, before the first fixture: `-m "not program"` runs the quick ones."""
    served_program.allowed = item.get_closest_marker("program") is not None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this test process."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with every migration applied, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    migrate({"YOQ_DATA_DIR": str(folder)})
    return folder / "yoq.db"


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL database with every migration applied, to be copied."""
    name = postgres.create()
    migrate({"YOQ_DATA_DIR": str(tmp_path_factory.mktemp("template")), "YOQ_DATABASE_URL": postgres.url(name)})
    return name


def migrate(config: dict[str, str]) -> None:
    """Apply every migration to a database."""
    app = create_app(config)
    with app.app_context():
        upgrade()
        db.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each database in turn. A test that is about one only overrides this with `@pytest.mark.parametrize`."""
    kind: str = request.param
    return kind


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database on each backend."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'yoq.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database on each backend, a test's own."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "yoq.db")
        yield f"sqlite:///{tmp_path / 'yoq.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def make_app(database_url: str, tmp_path: Path) -> Iterator[MakeApp]:
    """Build an application on the test's database: `make_app(plugin, …, YOQ_…=…)`."""
    made: list[Flask] = []

    def make(*plugins: object, **config: Any) -> Flask:
        settings = {
            "TESTING": True,
            "YOQ_DATA_DIR": str(tmp_path),
            "YOQ_DATABASE_URL": database_url,
            "YOQ_API_TOKEN": ADMIN,
            "YOQ_NODE": "node-1",
        }
        app = create_app(settings | config, plugins)
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            db.engine.dispose()
            current_spool().close()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application without plugins beyond the installed ones."""
    return make_app()


@pytest.fixture
def api(app: Flask) -> Api:
    """The administrator's client of `app`."""
    return Api(app)


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """The program as an operator runs it, on the test's database, over real HTTP."""
    with serve(tmp_path, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN) as program:
        yield program
