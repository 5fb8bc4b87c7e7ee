"""Starting a command: it loads what it needs, and help and version need nothing at all."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from flask import Flask

from tests.support.served import PROGRAM, command, environment
from yoq_web import VERSION
from yoq_web.cli import COMMANDS, DECLARED, main

LOADED = """
import sys
from yoq_web.cli import main
try:
    main(sys.argv[1:], prog_name="yoq-web")
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""

PROGRAMS_OWN = {
    *("alembic", "cryptography", "flask", "granian", "jinja2", "pluggy", "prometheus_client", "pydantic", "rich"),
    *("sqlalchemy", "structlog", "werkzeug", "yoq_audit", "yoq_wire", "yoq_web.app", "yoq_web.settings"),
}
"""What help and version are told without."""

OTHERS = {"granian", "psycopg", "sqlalchemy.dialects.oracle", "yoq_web.wsgi"}
"""What a command on an embedded database does without: the server, and other databases."""

ASKED = [("--help",), ("-h",), ("--version",)]


def load(folder: Path, *arguments: str, **variables: str) -> set[str]:
    """The modules that are loaded when a command line was run, which succeeds."""
    made = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return set(made.stderr.splitlines()[-1].split())


@pytest.mark.program
@pytest.mark.parametrize("asked", ASKED)
def test_help_and_version_load_nothing_of_the_program(tmp_path: Path, asked: tuple[str, ...]) -> None:
    """Whoever asks for them, as a shell that completes a line, does not wait for the program."""
    assert not load(tmp_path, *asked) & PROGRAMS_OWN


@pytest.mark.program
def test_names_of_commands_are_completed_without_the_program(tmp_path: Path) -> None:
    """Who presses the tabulator key does not wait for it."""
    asked = {"_YOQ_WEB_COMPLETE": "bash_complete", "COMP_WORDS": "yoq-web s", "COMP_CWORD": "1"}
    assert not load(tmp_path, **asked) & PROGRAMS_OWN
    told = subprocess.run([PROGRAM], env=environment(tmp_path) | asked, capture_output=True, text=True, check=False)
    assert told.stdout.split() == ["plain,secret", "plain,serve"]


@pytest.mark.program
def test_a_command_loads_nothing_of_the_server(tmp_path: Path) -> None:
    """Nor the driver of a database that it does not use."""
    loaded = load(tmp_path, "secret", "list")
    assert not loaded & OTHERS
    assert "yoq_audit" in loaded


@pytest.mark.program
@pytest.mark.parametrize("asked", ASKED)
def test_help_and_version_need_nothing(tmp_path: Path, asked: tuple[str, ...]) -> None:
    """Neither settings that can be used, nor a data directory, nor a home; and they leave nothing behind."""
    wrong = {
        "YOQ_DATA_DIR": "/dev/null/data",
        "YOQ_DATABASE_URL": "mysql://x",
        "YOQ_API_TOKEN": "x",
        "HOME": "/nowhere",
    }
    told = subprocess.run([PROGRAM, *asked], env=wrong, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr, list(tmp_path.iterdir())) == (0, "", [])
    assert told.stdout.startswith(f"yoq-web {VERSION}\n" if asked == ("--version",) else "Usage: yoq-web ")


@pytest.mark.program
def test_help_is_also_asked_for_in_one_letter(tmp_path: Path) -> None:
    """Of every command."""
    short, long = (command(tmp_path, "secret", "set", option).stdout for option in ("-h", "--help"))
    assert short == long
    assert "--keep-newline" in short


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_help_has_every_command(app: Flask) -> None:
    """Those of the application and of its plugins, and of them no other."""
    with click.Context(main) as context:
        assert main.list_commands(context) == sorted(app.cli.commands)
        listed = main.get_help(context)
    assert set(re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE)) >= set(app.cli.commands)
    assert set(COMMANDS) <= set(app.cli.commands)
    for name, text in COMMANDS.items():
        found = app.cli.commands[name]
        assert (found.help or found.get_short_help_str(1000)).startswith(text.rstrip(".")), name
    for point in entry_points(group=DECLARED):
        assert point.load() is app.cli.commands[point.name]
