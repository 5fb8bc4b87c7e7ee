"""Starting the program: what a first start does and says, where it listens, and what it refuses to start with."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import requests

from tests.support.served import PROGRAM, Served, command, environment, free_port, serve
from yoq_audit.settings import SETTINGS
from yoq_web.settings import TABLE

TOKEN_LINE = re.compile(r"^  ([0-9a-f]{64})$", re.MULTILINE)

BAD_SETTINGS = [
    ("YOQ_DATA_DIR", "/dev/null/data", "the data directory /dev/null/data cannot be made"),
    ("YOQ_DATABASE_URL", "mysql://localhost/yoq", "YOQ_DATABASE_URL must begin with"),
    ("YOQ_DATABASE_URL", "sqlite:///", "YOQ_DATABASE_URL names no database"),
    ("YOQ_DATABASE_URL", "sqlite:////dev/null/yoq.db", "the database /dev/null/yoq.db cannot be made"),
    ("YOQ_DATABASE_URL", "sqlite:////etc", "the database cannot be used"),
    ("YOQ_DATABASE_URL", "postgresql+psycopg://yoq:hunter2@localhost:port/yoq", "YOQ_DATABASE_URL is not a URL"),
    ("YOQ_DATABASE_URL", "postgresql+psycopg://yoq:hunter2@127.0.0.1:1/yoq", "the database cannot be used"),
    ("YOQ_API_TOKEN", "hunter2", "YOQ_API_TOKEN must be 64 lower-case hexadecimal characters"),
    ("YOQ_JOIN_TOKEN", "hunter2", "YOQ_JOIN_TOKEN must be 16 to 256 letters, digits"),
    ("YOQ_AGENT_TIMEOUT", "0", "YOQ_AGENT_TIMEOUT must be a number of seconds"),
    ("YOQ_MASTER_KEY", "hunter2", "YOQ_MASTER_KEY must be 64 lower-case hexadecimal characters"),
    ("YOQ_NODE", "two words", "YOQ_NODE must be"),
    ("YOQ_AUDIT_FAILURE", "ignore", "YOQ_AUDIT_FAILURE must be"),
    ("YOQ_LOG_ORIGIN", "two words", "YOQ_LOG_ORIGIN must be"),
    ("YOQ_AUDIT_RETENTION", "a year", "YOQ_AUDIT_RETENTION must be a number and h, d or w"),
    ("YOQ_BLOCKED_PLUGINS", "audit", "the plugin 'audit' is required and is blocked"),
    ("YOQ_TRUSTED_PROXIES", "10.0.0.0/8, 300.1.1.1", "YOQ_TRUSTED_PROXIES: '300.1.1.1' is not an IP address"),
]


@pytest.mark.program
def test_it_serves(served: Served) -> None:
    """A started server answers and audits."""
    assert served("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"}).status_code == 200
    assert served("GET", "/v1/audit").json()[0]["action"] == "secret_set"


@pytest.mark.program
def test_a_terminal_is_shown_the_admin_token_once(tmp_path: Path) -> None:
    """At a terminal the first start shows the token itself, and the next one does not."""
    for shown in (1, 0):
        terminal, end = os.openpty()
        program = subprocess.Popen(
            [PROGRAM, "serve", "--port", str(free_port())], env=environment(tmp_path), stdout=end, stderr=end
        )
        os.close(end)
        said = b""
        try:
            while b"data in" not in said or (shown and b"Try it:" not in said):
                said += os.read(terminal, 4096)
        finally:
            program.terminate()
            program.wait(60)
            os.close(terminal)
        assert len(TOKEN_LINE.findall(said.decode().replace("\r", ""))) == shown


@pytest.mark.program
@pytest.mark.skipif(not shutil.which("curl"), reason="the line to try needs curl")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_first_start_says_where_the_admin_token_is_and_a_line_to_try(tmp_path: Path, host: str) -> None:
    """The token is kept privately and in no log; its file is named, and the curl line works as it stands."""
    with serve(tmp_path, host=host) as program:
        said = program.log.read_text()
        kept = tmp_path / "api_token"
        token = kept.read_text()
        assert f"The admin token is in {kept}\n" in said
        assert token not in said
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        [line] = re.findall(r"^ *(curl .*)$", said, re.MULTILINE)
        tried = subprocess.run(["/bin/sh", "-c", line], check=False, capture_output=True, text=True, timeout=30)
        assert (tried.returncode, tried.stdout) == (0, "[]")
    with serve(tmp_path, host=host) as program:
        assert token not in program.log.read_text()
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(program.url + "/v1/audit", headers=headers, timeout=30).status_code == 200
        assert token not in program.log.read_text()


@pytest.mark.program
def test_a_token_from_the_environment_is_used_and_not_kept(tmp_path: Path) -> None:
    """With YOQ_API_TOKEN no token is made, printed or written anywhere."""
    token = "b" * 64
    with serve(tmp_path, YOQ_API_TOKEN=token) as program:
        assert program("GET", "/v1/audit").status_code == 200
        assert token not in program.log.read_text()
    assert not (tmp_path / "api_token").exists()
    assert not any(token.encode() in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.program
def test_it_listens_on_loopback_only_unless_told(tmp_path: Path) -> None:
    """By default nothing but 127.0.0.1 answers: not even the loopback network's other addresses."""
    with serve(tmp_path, YOQ_API_TOKEN="b" * 64) as program:
        port = int(program.url.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    with serve(tmp_path, host="0.0.0.0", YOQ_API_TOKEN="b" * 64) as program:  # noqa: S104 - what is tried here
        port = int(program.url.rpartition(":")[2])
        socket.create_connection(("127.0.0.2", port), timeout=5).close()


@pytest.mark.program
def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """The server does not share a port; a first start that ends so has not used up the showing of its token."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        done = command(tmp_path, "serve", "--port", port)
    expected = f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)
    assert not (tmp_path / "api_token").exists()


@pytest.mark.program
@pytest.mark.parametrize(("name", "value", "expected"), BAD_SETTINGS)
def test_a_setting_of_no_use_is_one_line(tmp_path: Path, name: str, value: str, expected: str) -> None:
    """A setting that cannot be used ends the start with one line that names it and no secret, and exit code 1."""
    done = command(tmp_path, "serve", "--port", str(free_port()), **{name: value})
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(expected)
    assert "hunter2" not in line


def test_every_setting_is_tried_with_a_value_of_no_use() -> None:
    """No setting is left out of the test above."""
    known = {setting.variable for setting in (*TABLE, *SETTINGS)}
    assert {name for name, _, _ in BAD_SETTINGS} == known


@pytest.mark.program
@pytest.mark.parametrize(
    ("file", "content", "mode", "expected"),
    [
        ("api_token", "hunter2", 0o600, "must begin with 64 lower-case hexadecimal characters"),
        ("api_token", "c" * 64, 0o644, "is open to other users"),
        ("yoq.db", "this is no database " * 100, 0o600, "the database cannot be used: file is not a database"),
    ],
)
def test_a_file_of_no_use_is_one_line(tmp_path: Path, file: str, content: str, mode: int, expected: str) -> None:
    """A damaged or open file in the data directory ends the start with one line that does not show what it holds."""
    (tmp_path / file).write_text(content)
    (tmp_path / file).chmod(mode)
    done = command(tmp_path, "serve", "--port", str(free_port()))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert expected in line
    assert content not in line


@pytest.mark.program
@pytest.mark.parametrize("backend", ["postgresql"])
def test_an_empty_postgresql_is_not_migrated_unasked(tmp_path: Path, empty_url: str) -> None:
    """On PostgreSQL a start says what to run and leaves the database as it is."""
    for _ in range(2):
        done = command(tmp_path, "serve", "--port", str(free_port()), YOQ_DATABASE_URL=empty_url)
        assert done.returncode == 1
        assert "yoq-web db upgrade" in done.stderr
        assert "Traceback" not in done.stderr
