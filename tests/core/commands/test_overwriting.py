"""Nothing is overwritten unasked: by no command, with no option; and nothing is replaced by an empty pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output, run

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

CALLS: dict[tuple[str, str], list[str]] = {
    ("backup", "--output"): ["--output", "FILE", "--plain"],
    ("audit export", "-o"): ["-o", "FILE"],
    ("audit prove", "-o"): ["ENTRY", "-o", "FILE"],
    ("audit prove", "--entry"): ["ENTRY", "-o", "-", "--entry", "FILE"],
    ("audit prune", "--archive"): ["--older-than", "1h", "--archive", "FILE"],
}
"""Every option that names a file to write, and how it is called."""

NEVER = ("audit prune", "--archive")
"""An archive holds what is nowhere else: it is never overwritten."""


def outputs(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every option of every command that may name a file that is not there."""
    for parameter in group.params:
        kind = parameter.type
        if isinstance(parameter, click.Option) and (
            (isinstance(kind, click.Path) and not kind.exists) or (isinstance(kind, click.File) and "w" in kind.mode)
        ):
            yield " ".join(path), parameter.opts[0]
    for name, command in getattr(group, "commands", {}).items():
        yield from outputs(command, (*path, name))


def test_every_file_that_is_written_is_known(app: Flask) -> None:
    """Whoever adds an option that names a file to write adds it here."""
    assert set(outputs(app.cli)) == set(CALLS)


@pytest.mark.parametrize("option", [option for option in CALLS if option != NEVER], ids="".join)
def test_a_file_that_is_there_is_left(app: Flask, api: Api, tmp_path: Path, option: tuple[str, str]) -> None:
    """It is refused in one line, and is as it was; with --overwrite, and where there is none, it is written."""
    entry = api("POST", "/v1/secrets", json={"name": "a", "value": "v"}).headers["Audit-Id"]
    file = tmp_path / "there"
    words = {"FILE": str(file), "ENTRY": entry}
    call = [*option[0].split(), *(words.get(word, word) for word in CALLS[option])]
    file.write_bytes(b"mine")
    assert failure(app, *call).endswith(f"{file} is there already: choose another name, or give --overwrite\n")
    assert file.read_bytes() == b"mine"
    assert run(app, *call, "--overwrite").exit_code == 0
    assert file.read_bytes() not in (b"mine", b"")
    file.unlink()
    assert run(app, *call).exit_code == 0
    assert file.read_bytes() != b""


def test_nothing_is_replaced_by_an_empty_pipe(app: Flask, tmp_path: Path) -> None:
    """What reads nothing fails and changes nothing, whatever newline it reads; an empty value is given as one."""
    assert output(app, "secret", "set", "db", stdin="kept") == "db\n"
    empty = tmp_path / "empty"
    empty.touch()
    for nothing in ("", "\n", "\r\n"):
        assert "there was nothing to read, and the secret is as it was" in failure(
            app, "secret", "set", "db", stdin=nothing
        )
    assert "nothing to read" in failure(app, "secret", "set", "db", "--file", str(empty))
    assert output(app, "secret", "get", "db") == "kept\n"
    assert output(app, "secret", "set", "db", "--value", "") == "db\n"
    assert output(app, "secret", "get", "db") == "\n"


@pytest.mark.parametrize(
    ("read", "value", "kept"),
    [
        ("a", "a", "a"),
        ("a\n", "a", "a\n"),
        ("a\r\n", "a", "a\r\n"),
        ("a\n\n", "a\n", "a\n\n"),
        ("\na\r", "\na\r", "\na\r"),
    ],
)
def test_one_newline_is_not_part_of_what_is_read(app: Flask, tmp_path: Path, read: str, value: str, kept: str) -> None:
    """A newline at the end is dropped, one and no more, from a file as from a pipe; --keep-newline keeps it."""
    file = tmp_path / "value"
    file.write_bytes(read.encode())
    for options, wanted in (((), value), (("--keep-newline",), kept)):
        output(app, "secret", "set", "db", *options, stdin=read)
        assert run(app, "secret", "get", "db").stdout_bytes == f"{wanted}\n".encode()
        output(app, "secret", "set", "db", "--file", str(file), *options)
        assert run(app, "secret", "get", "db").stdout_bytes == f"{wanted}\n".encode()


@pytest.mark.program
@pytest.mark.parametrize("closed", [(0,), (0, 1, 2)])
def test_closed_standard_files(make_app: MakeApp, tmp_path: Path, closed: tuple[int, ...]) -> None:
    """A command whose standard input is closed reads nothing from it, and no file gets its number."""
    data = {"YOQ_DATA_DIR": str(tmp_path / "data")}

    def close() -> None:
        for number in closed:
            os.close(number)

    done = subprocess.run(
        [Path(sys.executable).with_name("yoq-web"), "secret", "set", "db"],
        env={**os.environ, **data},
        capture_output=True,
        preexec_fn=close,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    if 2 not in closed:
        assert b"there was nothing to read" in done.stderr
    with make_app(**data).app_context():
        assert output(make_app(**data), "secret", "list") == "no secrets\n"
