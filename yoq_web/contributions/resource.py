"""Resource: a plugin's noun. Each function given to it becomes an operation, a route and a command at once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

import click
from flask import Blueprint
from flask.helpers import get_root_path
from pydantic import BaseModel, create_model
from werkzeug.routing import Map

from yoq_web.commands.command import Command, CommandGroup
from yoq_web.commands.output import checked, print_json
from yoq_web.contributions.contribution import Contribution
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.http.rules import QuickRule
from yoq_web.operations.operation import Activity, Operation

P = ParamSpec("P")
R = TypeVar("R")

ACTIVITIES: dict[str, Activity] = {
    "GET": "read",
    "POST": "create",
    "PUT": "update",
    "PATCH": "update",
    "DELETE": "delete",
}
"""What an operation does if nothing else is said, by its route's method."""


class Resource:
    """What a plugin is about, named as the plugin is: `notices` has the scopes `notices:read` and `notices:write`.

    `package` is the plugin's `__name__`; the folder `migrations` in it, if there is one, holds its revisions. Who needs
    more than this offers builds a Contribution from operations, blueprints and commands, as the core's domains do.
    """

    def __init__(self, name: str, package: str, help: str | None = None) -> None:  # noqa: A002 - click's word
        self.name = name
        self._migrations = Path(get_root_path(package)) / "migrations"
        self._operations: list[Operation] = []
        self._blueprint = Blueprint(name, package)
        self.group = CommandGroup(name, help=help or f"Commands of the plugin {name}.")

    def operation(
        self,
        label: str,
        route: str,
        *,
        scope: str | None = None,
        details: tuple[str, ...] = (),
        added: tuple[str, ...] = (),
        external: bool = False,
        activity: Activity | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Declare the function below as the operation `label`, the route `METHOD /path` and a command.

        Its docstring is the summary, its first argument the target of the entry, and `details` names the arguments that
        the entry shows; `added` names what the function gives to add_details() itself. Arguments come from the path,
        else from the JSON body; on the command line those with a default are options. It runs inside the door, wherever
        it is called from: what it changes is committed with the record. One that is `external` acts outside the
        database instead, and changes nothing in it. Its `activity` is by the method, if none is given: POST creates,
        PUT and PATCH update, DELETE deletes. Raises TypeError for a detail that the function does not have.
        """

        def declare(function: Callable[P, R]) -> Callable[P, R]:
            signature = inspect.signature(function)
            _check_details(label, function, details, added)
            summary = (inspect.getdoc(function) or label).partition("\n")[0].rstrip(".")
            operation = Operation(
                label,
                summary,
                scope or f"{self.name}:write",
                (*details, *added),
                external=external,
                activity=activity or ACTIVITIES.get(route.partition(" ")[0]),
            )
            door: Callable[..., AbstractContextManager[object]]
            door = operation.undertaken if external else operation.performed

            @functools.wraps(function)
            def perform(*positional: P.args, **named: P.kwargs) -> R:
                given = signature.bind(*positional, **named)
                given.apply_defaults()
                target = next(iter(given.arguments.values()), None)
                shown = {name: given.arguments[name] for name in details}
                with door(None if target is None else str(target), **shown):
                    return function(*positional, **named)

            self._operations.append(operation)
            self._add_route(operation, route, function, perform)
            self._add_command(label.removeprefix(f"{self.name}_"), function, perform)
            return perform

        return declare

    def reading(
        self, route: str, *, scope: str | None = None, query: type[BaseModel] | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Declare the function below as the route `GET /path`, which changes nothing and is not recorded."""

        def declare(function: Callable[P, R]) -> Callable[P, R]:
            answer = get_type_hints(function, include_extras=True).get("return", Any)
            view = endpoint(scope=scope or f"{self.name}:read", query=query, answer=answer)(function)
            method, _, path = route.partition(" ")
            self._blueprint.add_url_rule(path, view_func=view, methods=[method])
            return function

        return declare

    def contribution(self) -> Contribution:
        """Return all of it, for the plugin's `yoq_contribute`."""
        return Contribution(
            operations=self._operations,
            blueprints=(self._blueprint,),
            commands=(self.group,) if self.group.commands else (),
            migrations=self._migrations if self._migrations.is_dir() else None,
        )

    def _add_route(
        self, operation: Operation, route: str, function: Callable[..., Any], perform: Callable[..., Any]
    ) -> None:
        method, _, path = route.partition(" ")
        in_path = next(Map([QuickRule(path)]).iter_rules()).arguments
        body = _make_model(function, leave_out=in_path)
        answer = get_type_hints(function, include_extras=True).get("return", type(None))

        def view(body: BaseModel | None = None, **found: Any) -> object:
            result = perform(**found, **_read_values(body))
            return Status(status="ok") if result is None else result

        def find_attempt(body: BaseModel | None = None, **found: Any) -> tuple[object, dict[str, Any]]:
            first = next(iter(inspect.signature(function).parameters), None)
            given = found | _read_values(body)
            shown = {name: given[name] for name in operation.details if name in given}
            return given[first] if first else None, shown

        view.__name__, view.__doc__ = function.__name__, function.__doc__
        declare = endpoint(operation, body=body, target=find_attempt, answer=Status if answer is type(None) else answer)
        self._blueprint.add_url_rule(path, view_func=declare(view), methods=[method])

    def _add_command(self, name: str, function: Callable[..., Any], perform: Callable[..., Any]) -> None:
        model = _make_model(function)

        def run(**typed: str | None) -> None:
            given = {argument: value for argument, value in typed.items() if value is not None}
            result = perform(**_read_values(checked(model, **given) if model else None))
            click.echo("ok") if result is None else print_json(result)

        fields = model.model_fields if model else {}
        arguments: list[click.Parameter] = [
            click.Argument([argument]) if field.is_required() else click.Option([f"--{argument.replace('_', '-')}"])
            for argument, field in fields.items()
        ]
        self.group.add_command(Command(name, callback=run, params=arguments, help=inspect.getdoc(function)))


def _check_details(label: str, function: Callable[..., Any], details: Collection[str], added: Collection[str]) -> None:
    """Raise TypeError if the details are not what the function has, which otherwise every call would show."""
    arguments = inspect.signature(function).parameters
    for name in details:
        if name not in arguments:
            said = f"{label} declares the detail {name!r}, which is no argument of {function.__name__}()"
            raise TypeError(f"{said}: what the function gives to add_details() is named in `added`")
    for name in added:
        if name in arguments:
            raise TypeError(f"{label} adds the detail {name!r}, which is an argument of {function.__name__}()")


def _make_model(function: Callable[..., Any], leave_out: Collection[str] = ()) -> type[BaseModel] | None:
    """Make a model with a function's arguments as its fields; None if there are none."""
    types = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (types[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in leave_out
    }
    words = function.__name__.split("_")
    return create_model("".join(word.title() for word in words) + "In", **fields) if fields else None


def _read_values(model: BaseModel | None) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields} if model else {}
