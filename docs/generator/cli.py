"""The reference of the command line: every group and command, as `--help` tells it."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask import Flask

from docs.generator.blocks import code, make_table, unwrap


def write_commands(app: Flask) -> str:
    """Write a section a command of the first level, and below it one a command of its own."""
    parts = []
    for name in sorted(app.cli.commands):
        command = app.cli.commands[name]
        parts.append(f"## {name}\n\n{_describe(command, name)}")
        parts += [f"### {path}\n\n{_describe(found, path)}" for path, found in _walk(command, name)]
    return "\n\n".join(parts)


def _walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    below = command.commands if isinstance(command, click.Group) else {}
    for name in sorted(below):
        yield f"{path} {name}", below[name]
        yield from _walk(below[name], f"{path} {name}")


def _describe(command: click.Command, path: str) -> str:
    text = unwrap(command.help or command.get_short_help_str(1000))
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return text
    context = click.Context(command, info_name=f"yoq-web {path}")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    # An argument says nothing of itself: it is explained in the text.
    rows = [(code(names), said) for names, said in options if said and "--help" not in names]
    table = make_table(("option", "meaning"), rows) if rows else ""
    return f"```\n{usage}\n```\n\n{text}\n\n{table}".strip()
