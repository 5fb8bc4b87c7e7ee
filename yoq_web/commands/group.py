"""CommandGroup: commands, the core's or a plugin's, that act as the local actor on a database made ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import click
from flask import Flask, g
from flask.cli import AppGroup, ScriptInfo
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.actors import local_actor, set_actor
from yoq_web.database import locks
from yoq_web.hooks import periodic
from yoq_web.http.endpoints import invalid
from yoq_web.jsontext import dumps
from yoq_web.names import storable
from yoq_web.operations import external, replay
from yoq_web.problems import Problem, of_database
from yoq_web.state import state

DRAIN_SECONDS = 10.0
"""How long a command waits at its end for plugins that are being told of what it did."""

INVOKING = "yoq_web.invoking"
"""Where a group keeps the application while a command of it is run."""

C = TypeVar("C", bound=Callable[..., Any])
M = TypeVar("M", bound=BaseModel)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The option of every command that lists or makes something."""


class CommandGroup(AppGroup):
    """Commands run inside an app context of their own, as the actor `local`; a Problem ends them with exit code 1.

    So does what the database refuses, as over HTTP.
    """

    def command(  # type: ignore[override]  # as Flask says of its own
        self, *arguments: Any, read_only: bool = False, **options: Any
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """Declare a command, as in click. Before one that is `read_only` nothing is written, neither replayed."""

        def declare(function: Callable[..., Any]) -> click.Command:
            command: click.Command = super(CommandGroup, self).command(*arguments, **options)(function)
            vars(command)["read_only"] = read_only
            return command

        return declare

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        app = ctx.ensure_object(ScriptInfo).load_app()
        with acting(app):
            ctx.meta[INVOKING] = app
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was named, and make the database ready for it."""
        found = super().resolve_command(ctx, args)
        if app := ctx.meta.get(INVOKING):  # else a shell only asks how the words go on
            self.prepare(app, read_only=vars(found[1]).get("read_only", False))
        return found

    def prepare(self, app: Flask, *, read_only: bool = False) -> None:
        """Make the database ready for a command."""
        make_ready(app, read_only=read_only)


@contextmanager
def acting(app: Flask, *, alone: bool = False) -> Iterator[None]:
    """An app context of a command's own, with the actor `local`. What the user or the database refuses is a Failure.

    While a restore is going on a command waits, unless it says that it is `alone`: then it looks after that itself.
    """
    with app.app_context():
        set_actor(local_actor())
        try:
            with nullcontext() if alone else locks.shared(state().settings):
                try:
                    yield
                finally:
                    replay.store_held()
                    if g.get("yoq_events"):
                        periodic.beat(app)
                    state().plugins.drain(DRAIN_SECONDS)
        except Problem as problem:
            raise Failure(problem.error if not problem.detail else f"{problem.error}\n{problem.detail}") from None
        except SQLAlchemyError as error:
            failure = told(error)
            if failure is None:
                raise
            raise failure from None


def make_ready(app: Flask, *, read_only: bool = False) -> None:
    """Make an empty embedded database ready, as a first start does, store what waits and settle what a crash left.

    With `read_only` only see that the database can be used. Raises a Problem if it is not up to date.
    """
    from yoq_web.database.migrations import prepare_database  # noqa: PLC0415 - Alembic is slow to import and seldom needed

    prepare_database(app, may_write=not read_only)
    if read_only:
        return
    if not state().spool.empty:
        state().recover()
    external.sweep()


class Failure(click.ClickException):
    """A command cannot do what it was asked: the text goes to standard error, the exit code is 1."""

    def show(self, file: Any = None) -> None:
        """Print the text alone, as yoq does."""
        click.echo(self.message, file=file, err=file is None)


def told(error: SQLAlchemyError) -> Failure | None:
    """What an error of the database means to whoever runs a command, as one line; None if it is a defect."""
    problem = of_database(error)
    if problem is None:
        return None
    if problem.status == 503:
        # The driver's words tell an operator more; they name a file, a host or a table.
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        return Failure(f"the database cannot be used: {reason}")
    return Failure(f"{problem.error}: {problem.detail}")


class Name(click.ParamType[str]):
    """A name that both databases can store."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value`, or a usage error that says what is wrong with it."""
        try:
            return storable(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def named(argument: str) -> Callable[[C], C]:
    """An argument that names something."""
    return click.argument(argument, type=Name())


def checked(model: type[M], **values: object) -> M:
    """`values` as `model`, held to the same rules as over HTTP. Raises a Problem."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(model, error) from None


def print_json(value: object) -> None:
    """Print a value the way the HTTP API would answer it."""
    click.echo(dumps(value))


def printable(text: str) -> str:
    """`text` on one line, harmless to a terminal: a stored name must not draw rows of its own into a table."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def print_table(widths: tuple[int, ...], header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """Print columns of these widths, the last one as wide as it wants, like yoq's tables."""
    for row in [header, *rows]:
        cells = [printable(str(cell)) for cell in row]
        click.echo(
            " ".join([f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)] + cells[len(widths) :])
        )
