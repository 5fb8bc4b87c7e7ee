"""What commands take and print: checked arguments, failures as one line, JSON for programs and tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.http.validation import explain_invalid
from yoq_web.jsontext import dumps
from yoq_web.names import check_storable
from yoq_web.problems import translate_database_error

C = TypeVar("C", bound=Callable[..., Any])
M = TypeVar("M", bound=BaseModel)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The option of every command that lists or makes something."""


class Failure(click.ClickException):
    """A command cannot do what it was asked: the text goes to standard error, the exit code is 1."""

    def show(self, file: Any = None) -> None:
        """Print the text alone, as yoq does."""
        text = "\n".join(escape_text(line) for line in self.message.split("\n"))
        click.echo(text, file=file, err=file is None)


def explain_database_error(error: SQLAlchemyError) -> Failure | None:
    """Explain an error of the database to whoever runs a command, as one line; None if it is a defect."""
    problem = translate_database_error(error)
    if problem is None:
        return None
    if problem.status == 503:
        # The driver's words tell an operator more; they name a file, a host or a table.
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        return Failure(f"the database cannot be used: {reason}")
    return Failure(f"{problem.error}: {problem.detail}")


class NameType(click.ParamType[str]):
    """A name that both databases can store."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value`, or raise a usage error that says what is wrong with it."""
        try:
            return check_storable(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def named(argument: str) -> Callable[[C], C]:
    """Declare an argument that names something."""
    return click.argument(argument, type=NameType())


def checked(model: type[M], **values: object) -> M:
    """Check `values` as the fields of `model`, by the same rules as over HTTP. Raises a Problem."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain_invalid(model, error) from None


def print_json(value: object) -> None:
    """Print a value as the HTTP API would answer it, but what is not printable as escapes: a terminal would obey it."""
    text = dumps(value)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
    click.echo(text)


def escape_text(text: str) -> str:
    """Escape `text`, for a terminal, on one line: a stored name must not draw rows of its own into a table."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def print_table(widths: tuple[int, ...], header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """Print columns of these widths, the last one as wide as it wants, like yoq's tables."""
    for row in [header, *rows]:
        cells = [escape_text(str(cell)) for cell in row]
        click.echo(
            " ".join([f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)] + cells[len(widths) :])
        )
