"""`yoq-web secret`: outputs, exit codes, and the ways a value comes in without showing in a process list."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Api
from tests.support.commandline import failure, local_entries, output, run
from tests.support.served import PROGRAM, command, environment


def test_a_secret_is_set_read_listed_rotated_and_removed(app: Flask) -> None:
    """The main path: each command's output, and one entry for each with the actor `local`."""
    assert output(app, "secret", "list") == "no secrets\n"
    assert output(app, "secret", "set", "db", "--value", "hunter2") == "db\n"
    assert output(app, "secret", "get", "db") == "hunter2\n"
    assert output(app, "secret", "list") == "db\n"
    assert output(app, "secret", "rotate", "db") == "db\n"
    assert output(app, "secret", "get", "db") == "hunter2\n"
    assert output(app, "secret", "rm", "db") == "db\n"
    assert local_entries(app) == [
        ("secret_delete", "db", "ok"),
        ("secret_get", "db", "ok"),
        ("secret_rotate", "db", "ok"),
        ("secret_list", None, "ok"),
        ("secret_get", "db", "ok"),
        ("secret_set", "db", "ok"),
        ("secret_list", None, "ok"),
    ]


def test_the_list_as_json_is_the_answer_over_http(app: Flask) -> None:
    """`--json` prints what the HTTP API answers; the plain list has one name a line."""
    for name in ("b", "é", "a"):
        output(app, "secret", "set", name, "--value", "v")
    assert output(app, "secret", "list", "--json") == Api(app)("GET", "/v1/secrets").text + "\n" == '["a","b","é"]\n'
    assert output(app, "secret", "list") == "a\nb\né\n"


def test_commands_and_routes_share_the_secrets(app: Flask) -> None:
    """What is set over HTTP is read at the command line."""
    assert Api(app)("POST", "/v1/secrets", json={"name": "db", "value": "über"}).status_code == 200
    assert output(app, "secret", "get", "db") == "über\n"
    output(app, "secret", "rm", "db")
    assert Api(app)("GET", "/v1/secrets").text == "[]"


@pytest.mark.parametrize(
    ("given_bytes", "value"),
    [
        (b"hunter2\n", "hunter2"),
        (b"hunter2", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"a\r\nb\nc\rd\n", "a\r\nb\nc\rd"),
        (b" spaces \t\n", " spaces \t"),
        ("ü\N{GRINNING FACE}\0x".encode(), "ü\N{GRINNING FACE}\0x"),
        (b"x" * 1024 * 1024, "x" * 1024 * 1024),
    ],
)
def test_a_value_comes_from_standard_input_or_a_file(
    app: Flask, tmp_path: Path, given_bytes: bytes, value: str
) -> None:
    """Byte for byte, but for the line ends after it; `--file -` is standard input."""
    file = tmp_path / "value"
    file.write_bytes(given_bytes)
    output(app, "secret", "set", "stdin", stdin=given_bytes)
    output(app, "secret", "set", "dash", "--file", "-", stdin=given_bytes)
    output(app, "secret", "set", "file", "--file", str(file))
    for name in ("stdin", "dash", "file"):
        assert run(app, "secret", "get", name).stdout_bytes == value.encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "the value is not UTF-8 text\n"), (b"x" * (1024 * 1024 + 1), "the value is longer than")],
)
def test_a_value_that_cannot_be_kept_is_refused(app: Flask, content: bytes, message: str) -> None:
    """Binary or over-long input is told in one line and not stored."""
    assert failure(app, "secret", "set", "db", stdin=content).startswith(message)
    assert output(app, "secret", "list", "--json") == "[]\n"


def test_two_values_are_one_too_many(app: Flask) -> None:
    """`--value` and `--file` together are refused instead of one being passed over."""
    assert failure(app, "secret", "set", "db", "--value", "a", "--file", "-", stdin="b") == (
        "give either --file or --value\n"
    )


@pytest.mark.parametrize("action", ["get", "rm", "rotate"])
def test_an_unknown_secret_is_told(app: Flask, action: str) -> None:
    """Exit code 1 and yoq's words; nothing took place, so nothing is recorded."""
    assert failure(app, "secret", action, "nope") == "secret not found: nope\n"
    assert local_entries(app) == []


def test_an_empty_name_is_told(app: Flask) -> None:
    """The rule is the one over HTTP, in its words."""
    assert failure(app, "secret", "set", "", "--value", "x") == "name cannot be empty\n"
    assert local_entries(app) == []


def test_a_stored_name_draws_no_rows(app: Flask) -> None:
    """Control characters of a name are shown escaped, so that nobody forges output or drives a terminal."""
    name = "a\nfake\x1b[2J"
    assert Api(app)("POST", "/v1/secrets", json={"name": name, "value": "v"}).status_code == 200
    assert output(app, "secret", "list") == "a\\nfake\\x1b[2J\n"


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_program_itself(tmp_path: Path, database_url: str) -> None:
    """The real program: exit codes 0 and 1 only, usage errors included, and never a traceback."""

    def program(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
        done = command(tmp_path, *arguments, stdin=stdin, YOQ_DATABASE_URL=database_url)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    assert program("secret", "set", "db", stdin="hunter2\n") == (0, "db\n", "")
    assert program("secret", "get", "nope") == (1, "", "secret not found: nope\n")
    for wrong in (("list", "--bogus"), ("set", "a", "--file", "/no/file")):
        code, out, err = program("secret", *wrong)
        assert (code, out) == (1, "")
        assert err.startswith("Usage: ")
        assert "Error: " in err


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_bytes_that_are_no_text_are_told(tmp_path: Path, database_url: str) -> None:
    """An argument that is not UTF-8 ends the command with a message, not with a traceback, and stores nothing."""
    for arguments in ((b"set", b"db", b"--value", b"\xff"), (b"get", b"\xff")):
        done = subprocess.run(
            [os.fsencode(PROGRAM), b"secret", *arguments],
            env=environment(tmp_path, YOQ_DATABASE_URL=database_url),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"not valid UTF-8" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_at_a_terminal_the_value_is_asked_for_unseen(tmp_path: Path, database_url: str) -> None:
    """A person types the value twice, and it is not echoed."""
    terminal, side = pty.openpty()
    try:
        process = subprocess.Popen(
            [PROGRAM, "secret", "set", "db"],
            env=environment(tmp_path, YOQ_DATABASE_URL=database_url),
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        shown = b""
        while not shown.lower().endswith(b"value: "):
            shown += os.read(terminal, 1024)
        os.write(terminal, b"hunter2\n")
        while b"confirmation: " not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, b"hunter2\n")
        while b"db\r\n" not in shown:
            shown += os.read(terminal, 1024)
        assert process.wait(30) == 0
    finally:
        os.close(terminal)
    assert b"hunter2" not in shown
    assert command(tmp_path, "secret", "get", "db", YOQ_DATABASE_URL=database_url).stdout == "hunter2\n"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=90), value=st.text(max_size=200))
@pytest.mark.parametrize("backend", ["sqlite"])
def test_any_name_and_value_is_kept_or_refused(app: Flask, name: str, value: str) -> None:
    """Whatever text is given ends in a stored secret or in exit code 1 or 2 with a message, never in a crash."""
    done = run(app, "secret", "set", "--value", value, "--", name)
    if done.exit_code:
        assert name == "" or "\0" in name or len(name.encode()) > 256
        assert isinstance(done.exception, SystemExit)
        assert done.stderr
    else:
        assert run(app, "secret", "get", "--", name).stdout_bytes == value.encode() + b"\n"
