"""A plugin whose migrations fail takes nothing else down; taking migrations back asks first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import inspect
from structlog.testing import capture_logs

from tests.conftest import ADMIN, Api, MakeApp
from tests.support.migrations import BOXES, REVISION, other, standing, things
from tests.support.plugins import contributing, metadata
from tests.support.served import command, serve
from yoq_web import create_app, db
from yoq_web.database.migrations import list_lineages, list_standings, prepare_database

CANARY = "canary-91f0-row"
BROKEN = f"raise ValueError({CANARY!r})"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_first_start_goes_on_without_the_plugin(empty_url: str, tmp_path: Path) -> None:
    """On an empty embedded database the core, audit and the other plugins are made ready; the failure is logged."""
    config = {"YOQ_DATA_DIR": str(tmp_path), "YOQ_DATABASE_URL": empty_url, "YOQ_API_TOKEN": ADMIN}
    plugins = (things(tmp_path, BOXES, BROKEN), contributing("worlds", migrations=other(tmp_path)))
    app = create_app(config, plugins)
    with capture_logs() as lines:
        prepare_database(app)
        prepare_database(app)  # the next start finds it behind and serves all the same
    (line,) = lines
    assert (line["plugin"], line["error"]) == ("things", "ValueError")
    assert CANARY not in str(lines)
    with app.app_context():
        assert {found.lineage.name for found in list_standings() if not found.up_to_date} == {"things"}
        assert standing("worlds") == "worlds0"
        assert "things_boxes" not in inspect(db.engine).get_table_names()
    api = Api(app)
    assert api("GET", "/health").json == {"status": "degraded", "lineages_behind": ["things"]}
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200
    with app.app_context():
        db.engine.dispose()


def upgraded(app: Flask) -> Any:
    """The result of `yoq-web db upgrade`."""
    return app.test_cli_runner().invoke(args=["db", "upgrade"])


def test_db_upgrade_upgrades_the_others_and_fails(make_app: MakeApp, tmp_path: Path) -> None:
    """`db upgrade` does what it can, then says in one line what failed and how to see more; its exit code is 1."""
    plugins = (things(tmp_path, BROKEN), contributing("worlds", migrations=other(tmp_path)))
    done = upgraded(make_app(*plugins))
    assert done.exit_code == 1
    said = [line for line in done.output.splitlines() if "worlds" not in line]
    assert said == [
        "migrations failed, and were undone: things: ValueError. To see where, run: yoq-web db upgrade -x plugin=things"
    ]
    assert "worlds: nothing -> worlds0" in done.output


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_required_plugins_failure_stops(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the audit plugin's tables nothing is served, and nothing after it is upgraded."""
    monkeypatch.setattr("yoq_web.database.migrations.NEEDED", frozenset({"core", "audit", "things"}))
    config = {"YOQ_DATA_DIR": str(tmp_path), "YOQ_DATABASE_URL": empty_url, "YOQ_API_TOKEN": ADMIN}
    app = create_app(config, (things(tmp_path, BROKEN), contributing("worlds", migrations=other(tmp_path))))
    with pytest.raises(ValueError, match=CANARY):
        prepare_database(app)
    with app.app_context():
        assert standing("worlds") is None
        db.engine.dispose()


SOURCE = """
import pathlib
import yoq_web


@yoq_web.hookimpl
def yoq_contribute():
    return yoq_web.Contribution(migrations=pathlib.Path(__file__).parent / "versions")
"""


@pytest.mark.program
def test_the_program_starts_without_it(tmp_path: Path) -> None:
    """`serve` on an empty database starts, and /health says which plugin is behind."""
    package = tmp_path / "packages" / "things"
    (package / "versions").mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    (package / "versions" / "things0.py").write_text(REVISION.format(revision="things0", after=None, upgrade=BROKEN))
    metadata(package.parent, "things", {"things": "things"})
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN, PYTHONPATH=str(package.parent)) as program:
        assert program("GET", "/health").json() == {"status": "degraded", "lineages_behind": ["things"]}
        assert program("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200
    log = program.log.read_text()
    assert "a plugin's migrations failed and were undone" in log
    assert "not up to date: things; run: yoq-web db upgrade" in log
    assert CANARY not in log


@pytest.mark.parametrize("lineage", [(), ("-x", "plugin=audit")], ids=["core", "audit"])
def test_a_downgrade_asks_first(app: Flask, lineage: tuple[str, ...]) -> None:
    """Without a yes nothing is removed; with one, or with --yes, it is."""
    names = {"core": "secrets", "audit": "audit_log"}
    table = names["audit" if lineage else "core"]
    runner = app.test_cli_runner()

    def tables() -> list[str]:
        with app.app_context():
            return inspect(db.engine).get_table_names()

    for answer in ("", "n\n"):
        refused = runner.invoke(args=["db", *lineage, "downgrade", "base"], input=answer)
        assert refused.exit_code == 1
        assert "Go on?" in refused.output
        assert table in tables()
    for arguments, answer in ((["--yes"], ""), ([], "y\n")):
        assert runner.invoke(args=["db", *lineage, "downgrade", *arguments, "base"], input=answer).exit_code == 0
        assert table not in tables()
        assert runner.invoke(args=["db", *lineage, "upgrade"]).exit_code == 0
        assert table in tables()


def test_printing_a_downgrade_asks_nothing(app: Flask, capfd: pytest.CaptureFixture[str]) -> None:
    """`--sql` changes nothing and does not ask."""
    with app.app_context():
        head = next(found.head for found in list_standings() if found.lineage.name == "core")
        assert len(list_lineages()) == 2
    done = app.test_cli_runner().invoke(args=["db", "downgrade", "--sql", f"{head}:base"])
    assert done.exit_code == 0
    assert "Go on?" not in done.output
    assert "DROP TABLE secrets" in done.output + capfd.readouterr().out
    with app.app_context():
        assert "secrets" in inspect(db.engine).get_table_names()


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_script_without_an_answer_downgrades_nothing(database_url: str, tmp_path: Path) -> None:
    """Where nobody can answer, the program says so and exits with 1."""
    done = command(tmp_path, "db", "downgrade", "base", YOQ_DATABASE_URL=database_url)
    assert done.returncode == 1
    assert done.stderr.endswith("aborted\n")
    assert command(tmp_path, "secret", "list", YOQ_DATABASE_URL=database_url).returncode == 0
