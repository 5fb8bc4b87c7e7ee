"""What the database refuses is told as the caller's problem, over HTTP and on the command line alike."""

from __future__ import annotations

import sys

import click
import pytest
from flask import Flask
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, insert
from sqlalchemy.exc import DataError, InternalError

from tests.conftest import Api, MakeApp
from yoq_web import Contribution, Resource, db, hookimpl
from yoq_web.cli import Root
from yoq_web.database.rights import allow_commits

labels = Resource("labels", __name__)
declared = MetaData()
rows = Table("labels_labels", declared, Column("name", String, primary_key=True), Column("size", Integer))
uses = Table("labels_uses", declared, Column("label", String, ForeignKey("labels_labels.name"), nullable=False))


@labels.operation("labels_add", "PUT /v1/labels/<name>")
def add_label(name: str, text: str = "") -> None:
    """Add a label."""
    db.session.execute(insert(rows).values(name=text or name))


@labels.operation("labels_use", "POST /v1/labels/<name>/uses")
def use_label(name: str) -> None:
    """Use a label."""
    db.session.execute(insert(uses).values(label=name))


@labels.operation("labels_refuse", "DELETE /v1/labels/<name>")
def refuse(name: str) -> None:
    """Do what the driver calls a value that cannot be stored."""
    raise DataError("UPDATE", {}, Exception(name))


@labels.operation("labels_break", "POST /v1/labels/<name>/broken")
def break_label(name: str) -> None:
    """Break."""
    raise InternalError("UPDATE", {}, Exception(name))


class Plugin:
    """The plugin of these labels."""

    name = "labels"

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Add the labels."""
        return labels.contribution()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with the plugin and its tables."""
    app = make_app(Plugin())
    with app.app_context(), db.engine.connect() as connection, allow_commits(), connection.begin():
        declared.create_all(connection)
    return app


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    """Run `yoq-web labels …`; returns the exit code and the output."""
    result = app.test_cli_runner().invoke(args=["labels", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def told(api: Api, method: str, path: str, **options: object) -> tuple[int, str]:
    """The status and the `error` of an answer, which has a helpful detail as well."""
    answer = api(method, path, **options)
    assert answer.json is not None
    assert answer.json["detail"]
    return answer.status_code, answer.json["error"]


def test_a_clash_is_a_conflict(app: Flask, api: Api) -> None:
    """A name that is taken and a reference to nothing are 409, and one line of a command; nothing is changed."""
    assert api("PUT", "/v1/labels/red", json={}).status_code == 200
    assert told(api, "PUT", "/v1/labels/red", json={}) == (409, "conflict")
    assert told(api, "POST", "/v1/labels/blue/uses") == (409, "conflict")
    for arguments in (("add", "red"), ("use", "blue")):
        code, output = run(app, *arguments)
        assert (code, output.partition(":")[0], output.count("\n")) == (1, "conflict", 1)
    assert [entry["outcome"] for entry in api.entries()] == ["failed"] * 4 + ["ok"]


def test_a_value_that_cannot_be_stored_is_the_callers_mistake(app: Flask, api: Api, backend: str) -> None:
    """What the driver calls a bad value is 400, and one line of a command."""
    assert told(api, "DELETE", "/v1/labels/red") == (400, "a value cannot be stored")
    code, output = run(app, "refuse", "red")
    assert (code, output.partition(":")[0], output.count("\n")) == (1, "a value cannot be stored", 1)
    if backend == "postgresql":  # SQLite stores it
        assert told(api, "PUT", "/v1/labels/red", json={"text": "a\0b"}) == (400, "a value cannot be stored")
        assert run(app, "add", "red", "--text", "a\0b")[0] == 1


def test_a_missing_table_is_the_databases_fault(app: Flask, api: Api) -> None:
    """On both databases a table that is not there answers 503, and a command says which."""
    with app.app_context(), db.engine.connect() as connection, allow_commits(), connection.begin():
        declared.drop_all(connection)
    assert told(api, "PUT", "/v1/labels/red", json={}) == (503, "database unavailable")
    code, output = run(app, "add", "red")
    assert code == 1
    assert output.startswith("the database cannot be used: ")
    assert "labels_labels" in output
    assert output.count("\n") == 1


def test_a_defect_stays_one(app: Flask, api: Api) -> None:
    """Any other error of the database is a defect: 500, and a command that shows where."""
    assert api("POST", "/v1/labels/red/broken").status_code == 500
    result = app.test_cli_runner().invoke(args=["labels", "break", "red"])
    assert isinstance(result.exception, InternalError)


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_command_of_a_plain_group_is_told_the_same(
    app: Flask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root of the command line converts what a command outside a CommandGroup lets through."""

    @click.command("clash")
    def clash() -> None:
        raise DataError("UPDATE", {}, Exception("x"))

    root = Root("yoq-web", create_app=lambda: app)
    root.add_command(clash)
    monkeypatch.setattr(sys, "argv", ["yoq-web", "clash"])
    with pytest.raises(SystemExit) as ended:
        root.main(["clash"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("a value cannot be stored: ")
