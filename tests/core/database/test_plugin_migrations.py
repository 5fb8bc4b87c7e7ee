"""The migrations of plugins: kept to their own tables, undone when they fail, missed by nobody when they are absent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from alembic import command as alembic
from alembic.util import CommandError
from flask import Flask
from sqlalchemy import inspect, text

from tests.conftest import Api, MakeApp
from tests.support.migrations import BOXES, ITEMS, other, standing, things
from tests.support.plugins import contributing, refused
from yoq_web import db
from yoq_web.database.migrations import (
    UpgradeFailed,
    find_lineage,
    list_lineages,
    list_standings,
    make_configuration,
    prepare_database,
    upgrade,
)
from yoq_web.database.rights import allow_commits


def tables() -> set[str]:
    """The names of all tables."""
    return set(inspect(db.engine).get_table_names())


def run(*statements: str) -> None:
    """Run statements and commit them."""
    with db.engine.connect() as connection, allow_commits(), connection.begin():
        for statement in statements:
            connection.execute(text(statement))


def ask(query: str) -> list[Any]:
    """The first column of a query."""
    with db.engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def test_a_failing_migration_leaves_nothing(make_app: MakeApp, tmp_path: Path) -> None:
    """A migration that fails half way leaves no table and no version; the lineages before it are done."""
    app = make_app(
        things(tmp_path, BOXES, "op.execute('CREATE TABLE things_more (id INTEGER)'); op.execute('nonsense')")
    )
    with app.app_context():
        with pytest.raises(UpgradeFailed, match="migrations failed"):
            upgrade()
        assert not {name for name in tables() if "things" in name}
        assert standing("things") is None
        assert all(found.up_to_date for found in list_standings() if found.lineage.name != "things")


@pytest.mark.parametrize(
    "touching",
    [
        "op.create_table('gadgets', sa.Column('id', sa.Integer()))",
        "op.drop_table('audit_log')",
        "op.rename_table('policies', 'things_policies')",
        "op.add_column('secrets', sa.Column('owner', sa.String()))",
        "op.create_index('ix_things', 'secrets', ['key_id'])",
        "op.batch_alter_table('tokens').__enter__().drop_column('scopes')\n    op.drop_column('policies', 'action')",
        "op.execute('DELETE FROM alembic_version')\n    op.drop_table('alembic_version')",
    ],
)
def test_a_foreign_table_is_not_touched(make_app: MakeApp, tmp_path: Path, touching: str) -> None:
    """A plugin's migration that makes, drops, renames or alters what is not its own is refused and undone, whole."""
    app = make_app(things(tmp_path, f"{BOXES}\n    {touching}"))
    with app.app_context():
        before = tables()
        columns = [column["name"] for column in inspect(db.engine).get_columns("secrets")]
        with pytest.raises(UpgradeFailed) as failed:
            upgrade()
        assert "the migrations of things touch tables that are not its own" in str(failed.value.detail)
        assert tables() == before
        assert [column["name"] for column in inspect(db.engine).get_columns("secrets")] == columns
        assert inspect(db.engine).get_indexes("secrets") == []
        assert standing("core") is not None
        assert standing("things") is None


def test_children_survive_a_change_of_their_parent(make_app: MakeApp, tmp_path: Path) -> None:
    """Altering a table, which on SQLite means to rebuild it, does not delete the rows that refer to it."""
    alter = """
    with op.batch_alter_table('things_boxes') as batch:
        batch.add_column(sa.Column('label', sa.String()))"""
    app = make_app(things(tmp_path, BOXES, ITEMS))
    with app.app_context():
        upgrade()
        run("INSERT INTO things_boxes (id) VALUES (1)", "INSERT INTO things_items (id, box) VALUES (1, 1), (2, 1)")
    folder = tmp_path / "second"
    folder.mkdir()
    app = make_app(things(folder, BOXES, ITEMS, alter))
    with app.app_context():
        upgrade()
        assert ask("SELECT id FROM things_items ORDER BY id") == [1, 2]
        assert "label" in [column["name"] for column in inspect(db.engine).get_columns("things_boxes")]
        run("DELETE FROM things_boxes")
        assert ask("SELECT id FROM things_items") == []


def test_a_migration_leaves_no_dangling_row(make_app: MakeApp, tmp_path: Path) -> None:
    """A migration after which a row would refer to nothing fails, also on SQLite, where it runs without the checks."""
    dangling = "op.execute('INSERT INTO things_items (id, box) VALUES (1, 7)')"
    app = make_app(things(tmp_path, BOXES, ITEMS, dangling))
    with app.app_context():
        with pytest.raises(UpgradeFailed) as failed:
            upgrade()
        assert re.search("things_items|IntegrityError", str(failed.value.detail))
        assert "things_items" not in tables()


def test_an_absent_plugin_harms_nobody(make_app: MakeApp, tmp_path: Path) -> None:
    """Without the plugin its tables stay, and neither starting, upgrading nor autogenerating says a word of them."""
    with make_app(things(tmp_path, BOXES)).app_context():
        upgrade()
        run("INSERT INTO things_boxes (id) VALUES (1)")
    app = make_app()
    with app.app_context():
        upgrade()
        for lineage in list_lineages():
            alembic.check(make_configuration(lineage))
        assert "things" not in [found.lineage.name for found in list_standings()]
        assert ask("SELECT id FROM things_boxes") == [1]
        assert ask("SELECT version_num FROM alembic_version_things") == ["things0"]
    assert Api(app)("GET", "/health").json == {"status": "ok"}


def test_a_present_plugin_is_not_the_cores_concern(make_app: MakeApp, tmp_path: Path) -> None:
    """Autogenerating for one lineage sees no other's tables."""
    with make_app(things(tmp_path, BOXES)).app_context():
        upgrade()
        alembic.check(make_configuration(find_lineage("core")))
        alembic.check(make_configuration(find_lineage("audit")))
        with pytest.raises(CommandError, match="New upgrade operations detected"):
            alembic.check(make_configuration(find_lineage("things")))  # it has a table and no model


def test_a_plugin_behind_is_reported(make_app: MakeApp, tmp_path: Path) -> None:
    """A plugin whose migrations have not run shows in /health as a degradation; all else is served."""
    app = make_app(things(tmp_path, BOXES))
    prepare_database(app)  # as a start does; it raises if the program must not serve
    api = Api(app)
    answer = api("GET", "/health")
    assert (answer.status_code, answer.json) == (200, {"status": "degraded", "lineages_behind": ["things"]})
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200


def test_a_plugin_ahead_holds_up_no_other(make_app: MakeApp, tmp_path: Path) -> None:
    """A plugin's database made by a newer version of it is reported; the other lineages are upgraded all the same."""
    app = make_app(things(tmp_path, BOXES), contributing("worlds", migrations=other(tmp_path)))
    with app.app_context():
        run("CREATE TABLE alembic_version_things (version_num VARCHAR(32))")
        run("INSERT INTO alembic_version_things VALUES ('later')")
        with pytest.raises(Exception, match="the database is not up to date") as told:
            upgrade()
        assert "things: later, made by a newer version" in told.value.detail  # type: ignore[attr-defined]
        assert (standing("things"), standing("worlds")) == ("later", "worlds0")
    assert Api(app)("GET", "/health").json == {"status": "degraded", "lineages_behind": ["things"]}


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("revision = (", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("revision = 'b'\ndown_revision = None", "heads"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"])
def test_unreadable_migrations_refuse_the_plugin(make_app: MakeApp, tmp_path: Path, second: str, why: str) -> None:
    """A plugin whose migrations cannot be read, or end in two heads, is refused at the start and harms nobody."""
    plugin = things(tmp_path, BOXES)
    (next(tmp_path.glob("things*")) / "second.py").write_text(second)
    app: Flask = make_app(plugin)
    assert why in str(refused(app)["things"])
    api = Api(app)
    assert api("GET", "/health").json == {"status": "degraded", "plugins_refused": ["things"]}
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200
