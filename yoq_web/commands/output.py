"""What commands take and print: checked arguments, failures as one line, JSON for programs and tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.files import open_atomic
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


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace the file if it is there already.")
"""The option of a command that writes a file, for allow_writing()."""


def allow_writing(path: Path, *, overwrite: bool) -> bool:
    """Tell whether the file may be replaced that a command is to write, by its option or by who is asked at a terminal.

    Raises a Failure if it is there and may not. What is no file, as a pipe, is not replaced but written to.
    """
    if overwrite or not path.is_file():
        return overwrite
    shown = escape_text(str(path))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failure(f"{shown} is there already: choose another name, or give --overwrite")
    click.confirm(f"{shown} is there already. Replace it?", abort=True, err=True)
    return True


@contextmanager
def open_output(output: str, *, replace: bool) -> Iterator[BinaryIO]:
    """Open what to write to, - for standard output: beside its place until it is whole, and for its owner only.

    Raises a Failure if that cannot be done.
    """
    path = Path(output)
    try:
        if output == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file():  # a pipe or a device, in whose place nothing can be put
            with path.open("wb") as file:
                yield file
        else:
            with open_atomic(path, replace=replace) as file:
                yield file
    except BrokenPipeError:
        # Whoever read it has gone; Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        raise Failure(f"{escape_text(output)} cannot be written: {error.strerror or error}") from None


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
