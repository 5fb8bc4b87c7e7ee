"""The `db` commands: all lineages at once, one lineage, and mistakes told in words."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import inspect

from tests.conftest import ADMIN
from tests.support.commandline import failure, output, run
from tests.support.plugins import metadata
from tests.support.served import PROGRAM, command, environment
from yoq_web import create_app, db

NOTICES = Path(__file__).parents[2] / "thirdparty" / "yoq_notices" / "yoq_notices"


@pytest.fixture
def empty_app(empty_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application on a database without tables."""
    app = create_app({"YOQ_DATA_DIR": str(tmp_path), "YOQ_DATABASE_URL": empty_url, "YOQ_API_TOKEN": ADMIN})
    yield app
    with app.app_context():
        db.engine.dispose()


def tables(app: Flask) -> set[str]:
    """The names of all tables."""
    with app.app_context():
        return set(inspect(db.engine).get_table_names())


def test_upgrade_takes_every_lineage(empty_app: Flask) -> None:
    """`db upgrade` brings the core up to date, then the plugins, and says what it did; then nothing is left."""
    told = output(empty_app, "db", "upgrade").splitlines()
    assert [line.partition(":")[0] for line in told] == ["core", "audit", "the database is up to date"]
    assert all(": nothing -> " in line for line in told[:2])
    assert tables(empty_app) >= {"secrets", "audit_log"}
    assert output(empty_app, "db", "upgrade") == "the database is up to date\n"


def test_upgrade_prints_sql(empty_app: Flask, backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    """`db upgrade --sql` prints the statements of every lineage in the database's own words and runs none."""
    printed = output(empty_app, "db", "upgrade", "--sql") + capfd.readouterr().out
    assert printed.index("CREATE TABLE secrets") < printed.index("CREATE TABLE audit_log")
    assert "alembic_version_audit" in printed
    assert ("BYTEA" in printed) == (backend == "postgresql")
    assert tables(empty_app) == set()


def test_upgrade_takes_a_tag(empty_app: Flask) -> None:
    """`db upgrade --tag` upgrades every lineage as well."""
    output(empty_app, "db", "upgrade", "--tag", "release")
    assert tables(empty_app) >= {"secrets", "audit_log"}


def test_current_tells_what_is_behind(empty_app: Flask) -> None:
    """`db current` shows each lineage and exits with 1, saying what to run, until all are up to date."""
    result = run(empty_app, "db", "current")
    assert result.exit_code == 1
    assert [line.partition(", behind ")[0] for line in result.stdout.splitlines()] == [
        "core: nothing",
        "audit: nothing",
    ]
    assert result.stderr.endswith("Run: yoq-web db upgrade\n")
    output(empty_app, "db", "upgrade")
    assert all("behind" not in line for line in output(empty_app, "db", "current").splitlines())


def test_one_lineage_goes_down_and_up(app: Flask) -> None:
    """With `-x plugin=NAME`, before the command or after it, a command moves that lineage and no other."""
    everything = tables(app)
    at_head = output(app, "db", "-x", "plugin=audit", "current")
    output(app, "db", "-x", "plugin=audit", "downgrade", "--yes", "base")
    tree = {"audit_leaf", "audit_tile", "audit_checkpoint", "audit_key"}
    tree |= {"audit_minimum", "audit_erased", "audit_pruned"}
    assert everything - tables(app) == {"audit_log", *tree}
    assert run(app, "db", "-x", "plugin=audit", "current").stdout.startswith("audit: nothing, behind ")
    assert run(app, "db", "current", "-x", "plugin=core").exit_code == 0
    assert run(app, "db", "current").exit_code == 1
    output(app, "db", "upgrade", "-x", "plugin=audit")
    assert tables(app) == everything
    output(app, "db", "downgrade", "--yes", "-x", "plugin=audit", "base")
    output(app, "db", "-x", "plugin=audit", "upgrade")
    assert output(app, "db", "-x", "plugin=audit", "current") == at_head


@pytest.mark.parametrize("subcommand", ["upgrade", "downgrade", "current", "history", "check", "migrate", "stamp"])
def test_unknown_names_change_nothing(app: Flask, subcommand: str) -> None:
    """A plugin that is not there, and a mistyped -x, are errors: the core is never taken instead."""
    arguments = ("db", "-x", "plugin=nobody", subcommand)
    assert failure(app, *arguments) == "no lineage 'nobody': there are: core, audit\n"
    told = failure(app, "db", "-x", "plugn=audit", subcommand)
    assert told == "-x takes one plugin=NAME: it chooses the lineage and nothing else\n"
    assert "takes one plugin=NAME" in failure(app, "db", "-x", "plugin=core", "-x", "plugin=audit", subcommand)
    assert run(app, "db", "current").exit_code == 0


def test_an_unknown_revision_is_an_error(app: Flask) -> None:
    """A revision that is not there ends the command with exit code 1."""
    assert run(app, "db", "upgrade", "nowhere").exit_code == 1
    assert run(app, "db", "-x", "plugin=audit", "downgrade", "nowhere").exit_code == 1
    assert run(app, "db", "current").exit_code == 0


@pytest.mark.program
def test_a_plugin_author_writes_migrations(tmp_path: Path) -> None:
    """`db migrate -x plugin=NAME` writes a revision into the plugin's folder, of its tables only, and it applies."""
    site = tmp_path / "site"
    shutil.copytree(NOTICES, site / "yoq_notices", ignore=shutil.ignore_patterns("notices001*", "__pycache__"))
    metadata(site, "yoq_notices", {"notices": "yoq_notices"})

    def done(*arguments: str) -> str:
        finished = command(tmp_path, *arguments, PYTHONPATH=str(site))
        assert (finished.returncode, "Traceback" in finished.stderr) == (0, False), finished.stderr
        return finished.stdout

    done("db", "upgrade")
    done("db", "migrate", "-x", "plugin=notices", "-m", "The table of notices")
    (written,) = (site / "yoq_notices" / "migrations").glob("*.py")
    shipped = next(NOTICES.glob("migrations/notices001*")).read_text()
    revision = written.name.partition("_")[0]
    assert written.name == f"{revision}_the_table_of_notices.py"
    same = written.read_text().replace(revision, "notices001")
    assert ast.unparse(ast.parse(same)) == ast.unparse(ast.parse(shipped))
    assert f"notices: nothing -> {revision}\n" in done("db", "upgrade")
    assert "No new upgrade operations" in done("db", "-x", "plugin=notices", "check")
    assert done("db", "-x", "plugin=notices", "history") == f"<base> -> {revision} (head), The table of notices.\n"
    assert done("notices", "post", "it works") == "ok\n"


@pytest.mark.program
def test_flask_does_the_same(empty_url: str, tmp_path: Path) -> None:
    """`flask --app yoq_web db upgrade` is the same command."""
    flask = subprocess.run(
        [PROGRAM.with_name("flask"), "--app", "yoq_web", "db", "upgrade"],
        env=environment(tmp_path, YOQ_DATABASE_URL=empty_url),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (flask.returncode, flask.stderr) == (0, "")
    assert [line.partition(":")[0] for line in flask.stdout.splitlines()] == [
        "core",
        "audit",
        "the database is up to date",
    ]
    assert command(tmp_path, "db", "current", YOQ_DATABASE_URL=empty_url).returncode == 0
