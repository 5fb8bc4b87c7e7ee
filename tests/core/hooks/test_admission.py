"""Admission: a plugin that is blocked, a duplicate or named as the core is has none of its code run, by no command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.plugins import distribution
from tests.support.served import command

pytestmark = pytest.mark.program

SOURCE = """
import pathlib

import click

pathlib.Path({trace!r}).touch()


@click.command("any")
@click.argument("words", nargs=-1)
def answer(words):
    click.echo("proved: everything")


OFFLINE_COMMANDS = dict.fromkeys(("get", "list", "check-proof", "verify-export", "archive"), answer)
"""


@pytest.fixture
def stranger(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """What tells whether a stranger's module was imported, and the settings with which it is installed."""
    packages, trace = tmp_path / "packages", tmp_path / "imported"
    packages.mkdir()
    source = SOURCE.format(trace=str(trace))
    distribution(packages, "evil", source, secret="evil", audit="evil", backup="evil", things="evil")
    return trace, {"PYTHONPATH": str(packages), "YOQ_BLOCKED_PLUGINS": "secret things"}


@pytest.mark.parametrize(
    "words",
    [
        ("secret", "get", "db"),
        ("audit", "check-proof", "/dev/null", "--entry", "/dev/null", "--key", "k"),
        ("audit", "verify-export", "/dev/null", "--key", "k"),
        ("audit", "archive", "list", "/dev/null", "--key", "k"),
        ("backup", "list"),
        ("things", "list"),
        ("plugins", "list"),
    ],
    ids=" ".join,
)
def test_none_of_its_code_is_run(stranger: tuple[Path, dict[str, str]], tmp_path: Path, words: tuple[str, ...]) -> None:
    """It is neither imported nor does it answer in the name of the core or of the auditors' commands."""
    trace, settings = stranger
    done = command(tmp_path, *words, **settings)
    assert "proved" not in done.stdout.replace("not proved", "")
    assert not trace.exists()


def test_it_is_listed(stranger: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """`plugins list` says of each what became of it."""
    listed = command(tmp_path, "plugins", "list", **stranger[1]).stdout
    states = [(line.split()[0], line.split()[1]) for line in listed.splitlines() if "evil" in line]
    assert sorted(states) == [
        ("audit", "refused"),
        ("backup", "refused"),
        ("secret", "blocked"),
        ("things", "blocked"),
    ]
