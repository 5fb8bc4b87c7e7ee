"""When a command makes the database ready: not before it is run, and then no more than it needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from flask import Flask
from flask.cli import ScriptInfo

from tests.conftest import MakeApp
from tests.support import served
from tests.support.apps import Shop, service
from tests.support.commandline import output, run
from yoq_web.operations.spool_file import FILE

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])  # only its database is made ready without being asked


@pytest.fixture
def old(empty_url: str, make_app: MakeApp, tmp_path: Path) -> Flask:
    """An application whose database has no tables yet, and in whose spool something waits."""
    (tmp_path / FILE).write_text('{"event":{"id":"x"},"recorders":["audit"]}\n')
    return make_app(YOQ_DATABASE_URL=empty_url)


def files(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, with its content."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def commands(group: click.Group) -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    for name, command in group.commands.items():
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, *rest) for rest in commands(command))


def test_help_touches_nothing(old: Flask, tmp_path: Path) -> None:
    """To ask for the help of any command leaves the database, the spool and the data directory as they are."""
    before = files(tmp_path)
    for words in commands(old.cli):
        asked = run(old, *words, "--help")
        assert (asked.exit_code, asked.stdout[:6]) == (0, "Usage:"), (words, asked.output)
        assert files(tmp_path) == before, words


def test_completion_touches_nothing(old: Flask, tmp_path: Path) -> None:
    """So does a shell that completes the name or an option of any command."""
    before = files(tmp_path)
    shell = BashComplete(old.cli, {"obj": ScriptInfo(create_app=lambda: old)}, "yoq-web", "_YOQ_WEB_COMPLETE")
    for words in commands(old.cli):
        assert words[-1] in {found.value for found in shell.get_completions(list(words[:-1]), words[-1])}
        assert "--help" in {found.value for found in shell.get_completions(list(words), "--")}
        assert files(tmp_path) == before, words


@pytest.mark.program
def test_the_programs_own_completion(backend: str, tmp_path: Path) -> None:
    """As the shell asks for it: the names come, and there is not even a data directory afterwards."""
    assert backend
    asked = {"_YOQ_WEB_COMPLETE": "bash_complete", "COMP_WORDS": "yoq-web secret ", "COMP_CWORD": "2"}
    told = served.command(tmp_path / "data", **asked)
    assert told.stdout.splitlines() == [f"plain,{name}" for name in ("get", "list", "rm", "rotate", "set")]
    assert not (tmp_path / "data").exists()


def test_a_command_that_is_run_makes_ready(old: Flask, tmp_path: Path) -> None:
    """The same words without --help do make the database ready, and replay what waits."""
    assert run(old, "secret", "list").stdout == "no secrets\n"
    assert (tmp_path / "yoq.db").stat().st_size > 0


def test_a_command_moves_no_workloads(make_app: MakeApp) -> None:
    """What is due beside requests is the servers' work: removing a secret leaves a silent agent's workloads to them."""
    shop = Shop(make_app)
    first = shop.join()
    shop.apply(service("a"))
    second = shop.join(address="10.0.0.6")
    output(shop.app, "secret", "set", "db", "--value", "v")
    shop.age(first, 100)
    output(shop.app, "secret", "rm", "db")
    assert [len(shop.assigned(agent)) for agent in (first, second)] == [1, 0]
    assert "agent_offline" not in {entry["action"] for entry in shop.operator.entries()}
    shop.lose(first)
    assert [len(shop.assigned(agent)) for agent in (first, second)] == [0, 1]
