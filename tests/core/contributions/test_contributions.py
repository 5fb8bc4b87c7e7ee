"""What a plugin may not add: each clash refuses that plugin whole, with a reason, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.cli import AppGroup

from tests.conftest import Api, MakeApp
from tests.support.plugins import Made, contributing, plugins_of, refused
from yoq_web import CommandGroup, Contribution, Operation, Status, endpoint
from yoq_web.contributions.registry import current_registry
from yoq_web.hooks.host import RequiredPluginMissing
from yoq_web.secrets.operations import secret_set

pin = Operation("notes_pin", "Pin a note", "notes:write")


def view(**_arguments: object) -> Status:
    """Answer."""
    return Status(status="taken")


def routes(
    *rules: str,
    method: str = "GET",
    name: str = "notes",
    operation: Operation | None = None,
    scope: str | None = "notes:read",
    **declared: Any,
) -> Blueprint:
    """A blueprint with routes at these paths, all declared alike."""
    blueprint = Blueprint(name, __name__)
    for number, rule in enumerate(rules):
        declare = endpoint(operation, scope=None if operation else scope, **declared)
        blueprint.add_url_rule(rule, f"view{number}", declare(view), methods=[method])
    return blueprint


def group(name: str = "notes") -> CommandGroup:
    """A command group with one command."""
    commands = CommandGroup(name)
    commands.command("list")(lambda: None)
    return commands


def undeclared() -> Blueprint:
    """A blueprint with a route that endpoint() knows nothing of."""
    blueprint = Blueprint("notes", __name__)
    blueprint.add_url_rule("/v1/notes", "view", lambda: "taken")
    return blueprint


def meddling(register: Callable[[Blueprint], object]) -> Blueprint:
    """A blueprint with something beside its route."""
    blueprint = routes("/v1/notes")
    register(blueprint)
    return blueprint


ROUTES: dict[str, tuple[list[Blueprint], str]] = {
    "the same as the core's": ([routes("/v1/secrets")], "GET /v1/secrets exists"),
    "with another variable": ([routes("/v1/secrets/<other>", method="DELETE", operation=pin)], "exists"),
    "in the shadow of the core's": ([routes("/v1/secrets/special", method="DELETE", operation=pin)], "exists"),
    "with a converter": ([routes("/v1/secrets/<int:n>", method="DELETE", operation=pin)], "exists"),
    "with a choice": ([routes("/v1/secrets/<any(a, b):n>", method="DELETE", operation=pin)], "exists"),
    "of the plugin that came first": ([routes("/v1/first")], "GET /v1/first exists"),
    "instead of a redirect": ([routes("/v1/first/folder")], "GET /v1/first/folder exists"),
    "public and taken": ([routes("/health")], "GET /health exists"),
    "twice": ([routes("/v1/notes", "/v1/notes")], "twice"),
    "twice with another variable": ([routes("/v1/notes/<a>", "/v1/notes/<b>")], "twice"),
    "in two blueprints of one name": ([routes("/v1/notes"), routes("/v1/notes/more")], "already registered"),
    "in a blueprint of another's name": ([routes("/v1/notes", name="audit")], "is called 'audit'"),
    "undeclared": ([undeclared()], "not declared with endpoint"),
    "public": ([routes("/v1/notes", scope=None, public=True)], "is public"),
    "writing without an operation": ([routes("/v1/notes", method="POST")], "performs no operation"),
    "writing for no reason": ([routes("/v1/notes", method="DELETE", unaudited="")], "performs no operation"),
    "with an operation that is not contributed": (
        [routes("/v1/notes", method="POST", operation=Operation("notes_burn", "Burn", "notes:write"))],
        "performs 'notes_burn', which nobody declares",
    ),
    "with another's scope": ([routes("/v1/notes", scope="first:read")], "foreign scope 'first:read'"),
    "with an unknown scope": ([routes("/v1/notes", scope="secrts:read")], "foreign scope 'secrts:read'"),
    "with a scope that would split": ([routes("/v1/notes", scope="notes:x,*")], "no scope"),
    "of static files": ([Blueprint("notes", __name__, static_folder="static")], "not declared with endpoint"),
    "with a handler before all requests": ([meddling(lambda bp: bp.before_app_request(lambda: None))], "not its own"),
    "with a handler after all requests": ([meddling(lambda bp: bp.after_app_request(lambda r: r))], "not its own"),
    "with a teardown of all requests": ([meddling(lambda bp: bp.teardown_app_request(lambda e: None))], "not its own"),
    "with a handler of all errors": (
        [meddling(lambda bp: bp.app_errorhandler(Exception)(lambda error: "fine"))],
        "not its own",
    ),
    "with a processor of all templates": ([meddling(lambda bp: bp.app_context_processor(dict))], "not its own"),
    "with a filter of all templates": ([meddling(lambda bp: bp.app_template_filter("escape")(str))], "not its own"),
    "with defaults of all URLs": ([meddling(lambda bp: bp.app_url_defaults(lambda e, v: None))], "not its own"),
    "with commands of its own": (
        [meddling(lambda bp: bp.cli.command("secret")(lambda: None))],
        "not its own",
    ),
}

OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "an operation of the core": ({"operations": [secret_set]}, "'secret_set' exists"),
    "an operation twice": ({"operations": [pin, pin]}, "twice"),
    "an operation that is the core's by name": ({"operations": [Operation("secret_pin", "P", "*")]}, "'notes_'"),
    "an operation of another": ({"operations": [Operation("first_pin", "Pin", "*")]}, "'notes_'"),
    "an operation with the core's scope": (
        {"operations": [Operation("notes_pin", "Pin", "secrets:write")]},
        "foreign scope 'secrets:write'",
    ),
    "an operation with another's scope": ({"operations": [Operation("notes_pin", "P", "first:x")]}, "foreign scope"),
    "no operation at all": ({"operations": ["notes_pin"]}, "not an Operation"),
    "a command of the core": ({"commands": [group("secret")]}, "is called 'secret'"),
    "a command of another": ({"commands": [group("first")]}, "is called 'first'"),
    "a command twice": ({"commands": [group(), group()]}, "twice"),
    "a command that acts as nobody": ({"commands": [AppGroup("notes")]}, "not a yoq_web.CommandGroup"),
    "no blueprint at all": ({"blueprints": ["notes"]}, "not a Blueprint"),
    "no periodic task at all": ({"periodic": ["notes"]}, "not a function"),
    "no authenticator at all": ({"authenticators": [print]}, "not a yoq_web.Authenticator"),
    "no limit of answers at all": ({"answer_limits": [65_536]}, "not a function"),
    "a number": ({"operations": 5}, "TypeError"),
    "no migrations": ({"migrations": Path("/nowhere/migrations")}, "does not exist"),
    "nonsense for migrations": ({"migrations": 5}, "TypeError"),
}

first = Operation("first_act", "Act first", "first:write")


def the_first() -> Made:
    """A plugin whose name is loaded first; it does nothing wrong."""
    blueprint = routes("/v1/first", "/v1/first/folder/", name="first", scope="first:read")
    return contributing("first", operations=[first], blueprints=[blueprint], commands=[group("first")])


def the_last() -> Made:
    """A plugin that is loaded last; it does nothing wrong."""
    return contributing("last", blueprints=[routes("/v1/last", name="last", scope="last:read")])


def check_refused(app: Flask, reason: str) -> None:
    """The plugin `notes` is refused for this reason and left nothing behind; the others and the core work."""
    assert list(refused(app)) == ["notes"]
    assert reason in (refused(app)["notes"] or "")
    api = Api(app)
    assert [api("GET", path).status_code for path in ("/v1/first", "/v1/last", "/v1/notes")] == [200, 200, 404]
    assert api("POST", "/v1/secrets", json={"name": "special", "value": "v"}).text == '{"status":"ok"}'
    assert api("GET", "/v1/secrets").json == ["special"]
    assert api("DELETE", "/v1/secrets/special").text == '{"status":"removed"}'
    assert api("GET", "/health").json == {"status": "degraded", "plugins_refused": ["notes"]}
    document = api("GET", "/openapi.json").text
    assert "/v1/first" in document
    assert "notes" not in document
    registry = current_registry(app)
    assert not any(word.startswith("notes") for word in registry.vocabulary.words)
    assert not any(name.startswith("notes") for name in registry.operations)
    assert "notes" not in app.cli.commands
    assert {"first", "secret"} <= set(app.cli.commands)
    help_text = app.test_cli_runner().invoke(app.cli.commands["secret"], ["--help"]).output
    assert "rotate" in help_text


@pytest.mark.parametrize("case", ROUTES)
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_route_that_may_not_be(make_app: MakeApp, case: str) -> None:
    """A route that clashes, or breaks a rule of routes, refuses its plugin."""
    blueprints, reason = ROUTES[case]
    notes = contributing("notes", operations=[pin], blueprints=blueprints)
    check_refused(make_app(the_first(), notes, the_last()), reason)


@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_contribution_that_may_not_be(make_app: MakeApp, case: str) -> None:
    """An operation, a command or a folder that clashes, or makes no sense, refuses its plugin with its good parts."""
    contribution, reason = OTHERS[case]
    good = {"operations": [pin], "blueprints": [routes("/v1/notes")], "commands": [group()]}
    check_refused(make_app(the_first(), contributing("notes", **{**good, **contribution}), the_last()), reason)


@pytest.mark.parametrize("nonsense", [None, "notes", 5, [], {"operations": ()}, Contribution])
@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_is_no_contribution(make_app: MakeApp, nonsense: object) -> None:
    """A plugin that returns something else is refused."""
    notes = Made("notes", yoq_contribute=lambda: nonsense)
    check_refused(make_app(the_first(), notes, the_last()), "not a Contribution")


def add_route(app: Flask) -> None:
    """Take the core's route without saying so."""
    app.add_url_rule("/v1/secrets", "notes.view", lambda: "taken", methods=["POST"])


def add_command(app: Flask) -> None:
    """Take the core's command without saying so."""
    app.cli.add_command(AppGroup("secret"))


def add_handler(app: Flask) -> None:
    """Answer every request."""
    app.before_request_funcs.setdefault(None, []).insert(0, lambda: "taken")


def replace_view(app: Flask) -> None:
    """Put another function in the place of a view."""
    app.view_functions["secrets.set_secret"] = lambda: "taken"


@pytest.mark.parametrize("hook", ["yoq_contribute", "yoq_ready"])
@pytest.mark.parametrize("meddle", [add_route, add_command, add_handler, replace_view])
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_plugin_that_changes_the_app_itself(make_app: MakeApp, hook: str, meddle: Callable[[Flask], None]) -> None:
    """What a plugin adds is data: one that reaches into the application is refused, and its change is undone."""

    def implementation(app: Flask) -> Contribution:
        meddle(app)
        return Contribution()

    check_refused(make_app(the_first(), Made("notes", **{hook: implementation}), the_last()), "changed the application")


NAMES = (
    "secret",
    "secrets",
    "policies",
    "token",
    "service",
    "core",
    "alembic",
    "db",
    "plugins",
    "serve",
    "apps",
    "access",
    "agent",
    "app",
    "backup",
    "keys",
    "restore",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_name_that_is_the_cores(make_app: MakeApp, name: str) -> None:
    """No plugin can be called what the core goes by: a domain, an operation's first word, a command, a resource."""
    app = make_app(contributing(name), the_last())
    assert list(refused(app)) == [name]
    assert "the core's" in (refused(app)[name] or "")
    assert Api(app)("GET", "/v1/secrets").status_code == 200
    assert plugins_of(app)["last"].state == "active"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_required_plugin_that_clashes(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops start-up with the reason."""
    monkeypatch.setattr("yoq_web.app.REQUIRED_PLUGINS", ("audit", "notes"))
    with pytest.raises(RequiredPluginMissing, match="'notes' is required and was refused: the route GET /v1/secrets"):
        make_app(contributing("notes", blueprints=[routes("/v1/secrets")]))


def test_what_may_be(make_app: MakeApp) -> None:
    """Iterators are as good as lists; the core's scopes may be asked for; another method on a path is no clash."""
    blueprint = routes("/v1/secrets", method="PUT", operation=pin)
    reading = routes("/v1/notes", name="notes_more", scope="secrets:read")
    notes = contributing(
        "notes", operations=iter([pin]), blueprints=iter([blueprint, reading]), commands=iter([group()])
    )
    app = make_app(notes)
    assert refused(app) == {}
    assert "notes_pin" in current_registry(app).operations
    assert Api(app)("GET", "/v1/notes").text == '{"status":"taken"}'
    assert "notes" in app.cli.commands
