"""The option `--key` of everything that is checked offline: a key of the log, or a file of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from yoq_web import escape_text

MOST_BYTES = 65_536
"""A file of keys is shorter: one has about a hundred bytes."""


def add_key_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the keys that it is to believe, as `vkeys`: texts, each once."""
    option = click.option(
        "--key",
        "vkeys",
        metavar="VKEY",
        multiple=True,
        required=True,
        callback=_read_keys,
        help="The log's public key, or @FILE for a file with its keys, one on a line.",
    )
    decorated: Callable[..., Any] = option(command)
    return decorated


def _read_keys(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    keys: list[str] = []
    for text in given:
        keys += _read_file(text[1:]) if text.startswith("@") else [text]
    return tuple(dict.fromkeys(keys))


def _read_file(name: str) -> list[str]:
    try:
        with Path(name).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(f"{escape_text(name)}: {error.strerror}") from None
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line]
    if len(content) > MOST_BYTES or not keys:
        raise click.BadParameter(f"{escape_text(name)} is no file of keys: each is on a line of its own")
    return keys
