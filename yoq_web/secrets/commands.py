"""The commands of secrets (yoq's options, output and exit codes)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import BinaryIO, TypeVar

import click

from yoq_web.commands.command import CommandGroup
from yoq_web.commands.output import Failure, as_json, checked, escape_text, named, print_json
from yoq_web.problems import NotFound
from yoq_web.secrets import operations
from yoq_web.secrets.schemas import SecretIn

T = TypeVar("T")

MAX_VALUE = 1024 * 1024
"""Bytes of a value read from a file or from standard input."""

group = CommandGroup("secret", help="Manage encrypted secrets.")


@group.command("set")
@named("name")
@click.option("--file", "file", type=click.File("rb"), help="Read the value from a file; - is standard input.")
@click.option("--value", help="The value itself; everyone who can list processes sees it.")
@click.option("--keep-newline", is_flag=True, help="Keep the newline at the end of what is read, as keys need it.")
def set_command(name: str, file: BinaryIO | None, value: str | None, keep_newline: bool) -> None:
    """Store a secret.

    Without an option the value is asked for, or read from standard input if that is not a terminal. One newline at the
    end of what is read is not part of the value. Where there is nothing to read the secret stays as it is.
    """
    if value is not None and file is not None:
        raise Failure("give either --file or --value")
    if value is None and file is None and sys.stdin.isatty():
        value = click.prompt("value", hide_input=True, confirmation_prompt=True)
    elif value is None:
        value = _read_value(file or sys.stdin.buffer, keep_newline=keep_newline)
    secret = checked(SecretIn, name=name, value=value)
    operations.set_secret(secret.name, secret.value.get_secret_value())
    click.echo(name)


@group.command("get")
@named("name")
def get_command(name: str) -> None:
    """Print a secret's value. This leaves an entry in the trail."""
    click.echo(_act_on(name, operations.get_secret))


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the names of the secrets."""
    names = operations.list_secrets()
    if as_json:
        print_json(names)
    else:
        click.echo("\n".join(map(escape_text, names)) or "no secrets")


@group.command("rm")
@named("name")
def rm_command(name: str) -> None:
    """Remove a secret."""
    _act_on(name, operations.delete_secret)
    click.echo(name)


@group.command("rotate")
@named("name")
def rotate_command(name: str) -> None:
    """Encrypt a secret anew with the current key."""
    _act_on(name, operations.rotate_secret)
    click.echo(name)


def _act_on(name: str, act: Callable[[str], T]) -> T:
    try:
        return act(name)
    except NotFound:
        raise Failure(f"secret not found: {name}") from None


def _read_value(file: BinaryIO, *, keep_newline: bool) -> str:
    # Read as bytes: text mode would turn the line endings inside a value into others.
    raw = file.read(MAX_VALUE + 1)
    if len(raw) > MAX_VALUE:
        raise Failure(f"the value is longer than {MAX_VALUE} bytes")
    if not keep_newline:
        raw = re.sub(rb"\r?\n\Z", b"", raw)
    if not raw:  # as of a command before a pipe that failed
        raise Failure("there was nothing to read, and the secret is as it was; --value '' empties it")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Failure("the value is not UTF-8 text") from None
