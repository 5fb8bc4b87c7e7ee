"""The command line in process: what a command prints and how it exits, fast; its last step is the program's own."""

from __future__ import annotations

from typing import Any

from click.testing import Result
from flask import Flask

from tests.conftest import Api
from yoq_web.actors import make_local_actor

LOCAL = dict(make_local_actor().details)
"""What every entry of a command says of who it was."""


def run(app: Flask, *arguments: str, stdin: str | bytes | None = None) -> Result:
    """Run one command of `app`."""
    return app.test_cli_runner().invoke(args=arguments, input=stdin)


def output(app: Flask, *arguments: str, stdin: str | bytes | None = None) -> str:
    """What a command that succeeds prints; it says nothing on standard error."""
    result = run(app, *arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def failure(app: Flask, *arguments: str, stdin: str | bytes | None = None) -> str:
    """What a command that fails says on standard error: exit code 1, nothing on standard output, no traceback."""
    result = run(app, *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def local_entries(app: Flask) -> list[tuple[Any, ...]]:
    """(action, target, outcome) of every entry, newest first; each says that a local user of this name acted."""
    entries = Api(app).entries()
    for entry in entries:
        assert (entry["actor"], entry["actor_kind"], entry["peer"]) == ("local", "local", None)
        assert entry["details"].items() >= LOCAL.items()
        assert entry["request_id"] is None
    return [(entry["action"], entry["target"], entry["outcome"]) for entry in entries]
