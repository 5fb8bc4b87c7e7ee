"""The migrations that come with the software: what they make, how a database is made ready, and when it is refused."""

from __future__ import annotations

import functools
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command as alembic
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import create_engine, inspect, text

from tests.conftest import ADMIN
from tests.support.served import PROGRAM, command, environment, free_port
from yoq_web import Model, create_app, db
from yoq_web.database.migrations import list_lineages, list_standings, make_configuration, prepare_database, upgrade
from yoq_web.problems import Problem


@pytest.fixture
def empty_app(empty_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application on a database without tables."""
    app = create_app({"YOQ_DATA_DIR": str(tmp_path), "YOQ_DATABASE_URL": empty_url, "YOQ_API_TOKEN": ADMIN})
    with app.app_context():
        yield app
        db.engine.dispose()


def described() -> dict[str, list[str]]:
    """Every table but the version tables, with its columns and constraints."""
    inspector = inspect(db.engine)
    found = {}
    for table in inspector.get_table_names():
        if not table.startswith("alembic_version"):
            columns, indexes = inspector.get_columns(table), inspector.get_indexes(table)
            for index in indexes:  # a condition is an object, which shows its address
                index["dialect_options"] = {key: str(option) for key, option in index["dialect_options"].items()}
            constraints = [inspector.get_pk_constraint(table), *inspector.get_unique_constraints(table)]
            found[table] = [str(part) for parts in (columns, indexes, constraints) for part in parts]
    return found


def execute(url: str, *statements: str) -> None:
    """Change a database behind the program's back."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_models_equal_migrations(app: Flask) -> None:
    """The migrations of each lineage make exactly the tables that its models describe."""
    with app.app_context(), db.engine.connect() as connection:
        for lineage in list_lineages():
            options = {
                "compare_type": True,
                "compare_server_default": True,
                "include_object": lambda _item, name, kind, *_, owns=lineage.owns: kind != "table" or owns(name),
            }
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, Model.metadata) == [], lineage.name


def test_every_table_belongs_to_one_lineage(app: Flask) -> None:
    """Each table in the database has an owner, and only one."""
    with app.app_context():
        owners = {table: [lineage.name for lineage in list_lineages() if lineage.owns(table)] for table in described()}
    assert set(owners) >= {"secrets", "policies", "tokens", "audit_log"}
    assert all(len(names) == 1 for names in owners.values()), owners


def test_each_lineage_is_one_chain(app: Flask) -> None:
    """A lineage has one first revision and one head: `upgrade head` is never a question."""
    with app.app_context():
        for lineage in list_lineages():
            scripts = ScriptDirectory.from_config(make_configuration(lineage))
            assert (len(scripts.get_heads()), len(scripts.get_bases())) == (1, 1), lineage.name


def test_down_and_up_again(empty_app: Flask) -> None:
    """From empty to the newest, back to nothing, and up again to the same."""
    upgrade()
    first = described()
    assert all(standing.up_to_date for standing in list_standings())
    for lineage in reversed(list_lineages()):
        alembic.downgrade(make_configuration(lineage), "base")
    assert described() == {}
    assert [standing.current for standing in list_standings()] == [None] * len(list_lineages())
    upgrade()
    assert described() == first


def test_the_embedded_database_is_made_ready_and_another_is_not(empty_app: Flask, backend: str) -> None:
    """An empty SQLite database is migrated by the first start; PostgreSQL never unasked: it says what to run."""
    if backend == "sqlite":
        prepare_database(empty_app)
        assert all(standing.up_to_date for standing in list_standings())
    else:
        with pytest.raises(Problem) as refused:
            prepare_database(empty_app)
        assert "Run: yoq-web db upgrade" in str(refused.value.detail)
        assert inspect(db.engine).get_table_names() == []


@pytest.mark.program
def test_several_processes_prepare_one_database(tmp_path: Path) -> None:
    """Processes that find the same empty database at once all succeed."""
    processes = [
        subprocess.Popen([PROGRAM, "policy", "list"], env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 3
    assert [process.returncode for process in processes] == [0] * 3


def test_loggers_work_after_migrating(empty_app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Migrating leaves the application's loggers as they were."""
    logger = logging.getLogger("yoq_web")
    before = (logger.level, logger.disabled, list(logger.handlers))
    upgrade()
    assert (logger.level, logger.disabled, list(logger.handlers)) == before
    logger.warning("still here")
    assert "still here" in caplog.text


@pytest.mark.program
def test_the_core_behind_is_not_served(database_url: str, tmp_path: Path) -> None:
    """A program newer than its database does not start, and says what to run."""
    execute(database_url, "DELETE FROM alembic_version")
    done = command(tmp_path, "serve", "--port", str(free_port()), YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "core: nothing, behind core" in done.stderr
    assert done.stderr.endswith("Run: yoq-web db upgrade\n")


@pytest.mark.parametrize("lineage", ["core", "audit"])
def test_a_newer_database_is_refused(app: Flask, lineage: str) -> None:
    """Software older than its database neither starts nor upgrades it, and says what is wrong."""
    version_table = "alembic_version" if lineage == "core" else f"alembic_version_{lineage}"
    with app.app_context():
        execute(app.config["SQLALCHEMY_DATABASE_URI"], f"UPDATE {version_table} SET version_num = 'later'")
        for start in (upgrade, functools.partial(prepare_database, app)):
            with pytest.raises(Problem) as refused:
                start()
            assert f"{lineage}: later, made by a newer version" in str(refused.value.detail)
            assert "Install the version that made the database" in str(refused.value.detail)
        assert [found.current for found in list_standings() if found.lineage.name == lineage] == ["later"]


@pytest.mark.program
def test_a_newer_database_is_an_error_in_words(tmp_path: Path) -> None:
    """Whatever an older program is asked to do with a newer database, it says why not, without a traceback."""
    assert command(tmp_path, "db", "upgrade").returncode == 0
    execute(f"sqlite:///{tmp_path / 'yoq.db'}", "UPDATE alembic_version SET version_num = 'later'")
    for arguments in (("serve", "--port", str(free_port())), ("policy", "list")):
        done = command(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "core: later, made by a newer version" in done.stderr
        assert "Traceback" not in done.stderr
