"""Resource: a function given to it is an audited operation, a route and a command at once."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from sqlalchemy import Column, MetaData, String, Table, delete, insert, select, update

from tests.conftest import Api, MakeApp
from yoq_web import Contribution, Name, NotFound, Resource, add_details, db, hookimpl
from yoq_web.database.rights import allow_commits

flags = Resource("flags", __name__)
rows = Table("flags_flags", MetaData(), Column("name", String, primary_key=True), Column("value", String))


@flags.operation("flags_set", "PUT /v1/flags/<name>", details=("share",))
def set_flag(name: Name, value: Name, share: int = 100) -> dict[str, int]:
    """Set a flag."""
    db.session.execute(insert(rows).values(name=name, value=value))
    return {"share": share}


@flags.operation("flags_remove", "DELETE /v1/flags/<name>", scope="flags:remove")
def remove_flag(name: Name) -> None:
    """Remove a flag."""
    if name == "none":
        raise NotFound
    db.session.execute(delete(rows).where(rows.c.name == name))


@flags.operation("flags_change", "PATCH /v1/flags/<name>", details=("value",), added=("before",))
def change_flag(name: Name, value: Name) -> None:
    """Change a flag."""
    add_details(before=db.session.scalar(select(rows.c.value).where(rows.c.name == name)))
    db.session.execute(update(rows).where(rows.c.name == name).values(value=value))


@flags.operation("flags_copy", "POST /v1/flags/copy", added=("copied",), external=True)
def copy_flags(place: Name) -> None:
    """Copy the flags to another system."""
    add_details(copied=3)
    if place == "nowhere":
        raise OSError


@flags.operation("flags_add", "POST /v1/flags")
def add_flag(name: Name) -> None:
    """Add a flag."""
    db.session.execute(insert(rows).values(name=name, value=""))


@flags.operation("flags_reset", "POST /v1/flags/reset", activity="delete")
def reset() -> None:
    """Remove all flags."""
    db.session.execute(delete(rows))


@flags.reading("GET /v1/flags/<name>")
def get_flag(name: str) -> list[str]:
    """Show a flag."""
    return [str(value) for value in db.session.scalars(select(rows.c.value).where(rows.c.name == name))]


class Plugin:
    """The plugin of these flags."""

    name = "flags"

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Add the flags."""
        return flags.contribution()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application with the plugin and its table."""
    app = make_app(Plugin())
    with app.app_context(), db.engine.connect() as connection, allow_commits(), connection.begin():
        rows.create(connection)
    return app


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    """Run `yoq-web flags …`; returns the exit code and the output."""
    result = app.test_cli_runner().invoke(args=["flags", *arguments])
    return result.exit_code, result.output


def test_an_operation_is_of_its_methods_activity(app: Flask) -> None:
    """PUT updates, DELETE deletes and POST creates, unless the declaration says that it does something else."""
    found = {operation.name: operation.activity for operation in flags.contribution().operations}
    assert found == {
        "flags_set": "update",
        "flags_remove": "delete",
        "flags_change": "update",
        "flags_copy": "create",
        "flags_reset": "delete",
        "flags_add": "create",
    }


def test_arguments_come_from_the_path_and_the_body(app: Flask, api: Api) -> None:
    """What the path does not name is a field of the body; a default makes it optional; what is returned is answered."""
    answer = api("PUT", "/v1/flags/dark", json={"value": "on", "share": 5})
    assert (answer.status_code, answer.text) == (200, '{"share":5}')
    assert api("PUT", "/v1/flags/light", json={"value": "off"}).json == {"share": 100}
    assert api("PUT", "/v1/flags/dim", json={"share": 5}).json["error"] == "missing value field"  # type: ignore[index]
    assert api("PUT", "/v1/flags/dim", json={"value": "on", "share": "x"}).status_code == 400
    assert api("GET", "/v1/flags/dark").json == ["on"]
    assert api("DELETE", "/v1/flags/dark").json == {"status": "ok"}
    assert api("POST", "/v1/flags/reset").json == {"status": "ok"}
    assert api("GET", "/v1/flags/light").json == []


def test_the_entry_shows_the_target_and_what_is_declared(app: Flask, api: Api) -> None:
    """The first argument is the target; of the others an entry shows those that `details` names."""
    api("PUT", "/v1/flags/dark", json={"value": "hidden", "share": 5})
    api("POST", "/v1/flags/reset")
    reset_entry, set_entry = api.entries()
    assert (set_entry["action"], set_entry["target"], set_entry["details"]) == ("flags_set", "dark", {"share": 5})
    assert (reset_entry["action"], reset_entry["target"]) == ("flags_reset", None)


def test_a_failure_changes_nothing_and_is_recorded(app: Flask, api: Api) -> None:
    """The function runs inside the door: what it raises rolls it back and leaves an entry; NotFound leaves none."""
    with app.test_request_context(), pytest.raises(RuntimeError, match="no actor"):
        set_flag("dark", "on")
    assert api("DELETE", "/v1/flags/none").status_code == 404
    api("PUT", "/v1/flags/dark", json={"value": "on"})
    assert api("PUT", "/v1/flags/dark", json={"value": "again"}).status_code >= 400
    assert [entry["outcome"] for entry in api.entries()] == ["failed", "ok"]
    assert api("GET", "/v1/flags/dark").json == ["on"]


def test_scopes_are_the_plugins_own(app: Flask, api: Api) -> None:
    """Operations need the scope `write` and reading needs `read`, unless told otherwise."""
    reader, writer, remover = (api.token(f"flags:{verb}", name=verb) for verb in ("read", "write", "remove"))
    assert writer("PUT", "/v1/flags/dark", json={"value": "on"}).status_code == 200
    assert reader("PUT", "/v1/flags/light", json={"value": "on"}).status_code == 403
    assert reader("GET", "/v1/flags/dark").json == ["on"]
    assert writer("DELETE", "/v1/flags/dark").status_code == 403
    assert remover("DELETE", "/v1/flags/dark").status_code == 200


def test_commands_take_arguments_and_options(app: Flask, api: Api) -> None:
    """On the command line what has a default is an option; the same validation holds, and the same door."""
    assert run(app, "set", "dark", "on", "--share", "5") == (0, '{"share":5}\n')
    assert run(app, "remove", "dark") == (0, "ok\n")
    assert run(app, "reset") == (0, "ok\n")
    code, output = run(app, "set", "dark", "on", "--share", "half")
    assert (code, output.splitlines()[0]) == (1, "invalid share")
    assert [entry["actor"] for entry in api.entries()] == ["local"] * 3
    assert api.entries()[2]["details"]["share"] == 5


def test_old_and_new_are_recorded(app: Flask, api: Api) -> None:
    """What a function finds out on its way it adds to the entry, over HTTP and on the command line, or if it fails."""
    api("PUT", "/v1/flags/dark", json={"value": "off"})
    assert api("PATCH", "/v1/flags/dark", json={"value": "on"}).status_code == 200
    assert run(app, "change", "dark", "dim") == (0, "ok\n")
    assert api("POST", "/v1/flags/copy", json={"place": "there"}).status_code == 200
    assert api("POST", "/v1/flags/copy", json={"place": "nowhere"}).status_code == 500
    changes = [entry for entry in api.entries() if entry["action"] == "flags_change"]
    assert [(entry["details"]["before"], entry["details"]["value"]) for entry in changes] == [
        ("on", "dim"),
        ("off", "on"),
    ]
    copies = [entry for entry in api.entries() if entry["action"] == "flags_copy"]
    assert [(entry["outcome"], entry["details"]) for entry in copies] == [
        ("failed", {"copied": 3}),
        ("ok", {"copied": 3}),
    ]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("details", "added", "wrong"),
    [
        (("vlaue",), (), "things_put declares the detail 'vlaue', which is no argument of put()"),
        (("value", "before"), (), "'before', which is no argument"),
        (("value",), ("value",), "things_put adds the detail 'value', which is an argument of put()"),
        (("value",), ("os_user",), "things_put cannot have a detail os_user"),
    ],
)
def test_a_detail_that_the_function_does_not_have_is_found_at_once(
    backend: str, details: tuple[str, ...], added: tuple[str, ...], wrong: str
) -> None:
    """Where the operation is declared, not when it is first performed."""

    def put(name: str, value: str) -> None:
        """Put a thing."""

    things = Resource("things", __name__)
    with pytest.raises((TypeError, ValueError), match=re.escape(wrong)):
        things.operation("things_put", "PUT /v1/things/<name>", details=details, added=added)(put)
    assert not things.contribution().operations
