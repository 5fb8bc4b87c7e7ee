"""The trail for people: on a terminal as wide as that, with local time, colours, short ids; plain everywhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.commandline import failure, output, run
from tests.support.served import PROGRAM, check_marker, environment
from tests.support.trail import SECOND, START, make_entry, store
from yoq_audit.query.display import EntryTable
from yoq_web import format_local

ROWS = [
    make_entry(1, actor="ci", actor_kind="token", peer="203.0.113.9"),
    make_entry(2, actor="local", actor_kind="local", target=None, action="secret_list", details='{"os_user":"alice"}'),
    make_entry(3, outcome="denied", reason="this needs the scope secrets:write", target="a-long-name-" * 9),
    make_entry(4, outcome="failed", target="db \x1b[2K\nforged"),
]


def on_terminal(folder: Path, columns: int, *arguments: str, **settings: str) -> str:
    """What the program prints on a terminal of so many columns."""
    check_marker()
    terminal, end = pty.openpty()
    try:
        done = subprocess.run(
            [PROGRAM, *arguments],
            env=environment(folder, COLUMNS=str(columns), TERM="xterm", **settings),
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=subprocess.PIPE,
            timeout=60,
            check=True,
        )
        assert done.stderr == b""
        return os.read(terminal, 1 << 16).decode().replace("\r\n", "\n")
    finally:
        os.close(terminal)
        os.close(end)


def plain(text: str) -> str:
    """A text without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_on_a_terminal_the_list_is_for_people(app: Flask, tmp_path: Path, database_url: str) -> None:
    """Local time with the zone in the heading, actor with kind, from where, why, short id; outcomes have colours."""
    store(database_url, ROWS)
    zone = {"TZ": "XST-5:30", "YOQ_DATABASE_URL": database_url}
    shown = on_terminal(tmp_path, 140, "audit", "list", **zone)
    head, *lines = plain(shown).splitlines()
    assert head.split() == ["TIME", "(+05:30)", "ACTOR", "ACTION", "TARGET", "OUTCOME", "FROM", "REASON", "ID"]
    assert len(lines) == 4
    assert all(len(line) <= 140 for line in lines)
    assert lines[3].startswith("2026-09-21 19:43:21 ci (token) ")
    assert "203.0.113.9" in lines[3]
    assert "local: alice" in lines[2]
    assert "a-long-name-" in lines[1]
    assert "…" in lines[1]
    assert "this needs" in lines[1]
    assert all(line.endswith("00000000-0000") for line in lines)
    assert "\x1b[33mdenied" in shown
    assert "\x1b[31mfailed" in shown
    assert "\x1b[2K" not in shown
    narrow = plain(on_terminal(tmp_path, 80, "audit", "list", **zone))
    assert all(len(line) <= 80 for line in narrow.splitlines()), narrow
    assert "REASON" not in narrow
    assert "\x1b" not in on_terminal(tmp_path, 140, "audit", "list", NO_COLOR="1", **zone)
    # What scripts read is one option away.
    assert on_terminal(tmp_path, 140, "audit", "list", "--plain", **zone) == output(app, "audit", "list")


@pytest.mark.usefixtures("berlin")
def test_wide_has_everything(app: Flask, database_url: str) -> None:
    """`--wide` shows what an entry has, uncut, in a pipe too; colours are left out there."""
    store(database_url, ROWS)
    head, *lines = output(app, "audit", "list", "--wide").splitlines()
    titles = ["TIME", "ACTOR", "ACTION", "TARGET", "OUTCOME", "FROM", "REASON", "REQUEST", "NODE", "ID", "DETAILS"]
    assert [title for title in head.split() if not title.startswith("(")] == titles
    assert "a-long-name-" * 9 in lines[1]
    assert "this needs the scope secrets:write" in lines[1]
    assert '{"os_user":"alice"}' in lines[2]
    assert ROWS[3]["event_id"] in lines[0]
    assert "db \\x1b[2K\\nforged" in lines[0]
    assert lines[3].startswith("2026-09-21 16:13:21")
    assert "give one of them" in failure(app, "audit", "list", "--wide", "--plain")
    assert output(app, "audit", "list", "--plain") == output(app, "audit", "list")


def test_following_shows_the_same(app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`audit follow` has the tables of the list."""
    store(database_url, ROWS)

    def wait(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("yoq_audit.export.commands.time.sleep", wait)
    lines = output(app, "audit", "follow", "--start", "0", "--wide").splitlines()
    assert ["this needs the scope secrets:write" in line for line in lines] == [False, False, False, True, False, False]
    assert '"os_user":"alice"' in lines[2]
    assert output(app, "audit", "follow", "--start", "0", "--plain").startswith("TIME         ACTOR ")
    assert "give one of them" in run(app, "audit", "follow", "--wide", "--plain").stderr


@pytest.mark.usefixtures("berlin")
def test_times_are_local_and_say_their_zone() -> None:
    """The zone stands in the heading, and with each time that had another; what is no time is shown as it is."""
    winter = START + 100 * 86400 * SECOND
    assert format_local(START, "+02:00") == "2026-09-21 16:13:20"
    assert format_local(winter, "+02:00") == "2026-12-30 15:13:20+01:00"
    assert format_local("2026-09-21T14:13:20.000001Z") == "2026-09-21 16:13:20 +02:00"
    assert format_local(2**62) == str(2**62)
    assert format_local(None) == "None"


@pytest.mark.parametrize("columns", [40, 80, 100, 132, 200])
def test_a_table_is_as_wide_as_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever there is to show; below 78 columns it keeps to the least that can be read."""
    monkeypatch.setenv("COLUMNS", str(columns))
    entry: dict[str, Any] = {
        **ROWS[2],
        "details": {},
        "actor": "a" * 64,
        "action": "b" * 40,
        "peer": "2001:db8::" + "1:" * 9,
    }
    for entries in ([], [entry], [entry] * 3, [{**entry, "reason": None, "target": "x", "peer": None}]):
        table = EntryTable(entries)
        table.print_head()
        table.print_entries([entry])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= max(columns, 78)
