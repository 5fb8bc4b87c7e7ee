"""The systemd unit: systemd understands it, finds little that it may do, and makes its user and files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY, find_program
from yoq_web.server import GRACE_SECONDS

UNIT = DEPLOY / "systemd" / "yoq-web.service"
WORST = 2.0
"""How exposed the service may be, in systemd's points of 0 to 10."""


def test_the_unit_is_understood(tmp_path: Path) -> None:
    """Nothing is said about it, but that the program is not installed where it looks."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    found = subprocess.run(
        [find_program("systemd-analyze"), "verify", copy], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in (found.stdout + found.stderr).splitlines() if UNIT.name in line]
    assert (found.returncode, said) == (0, [])


def test_it_may_do_little() -> None:
    """The system's own judgement of what a hostile service could do."""
    judge = [find_program("systemd-analyze"), "security", "--offline=yes", "--no-pager", str(UNIT)]
    said = subprocess.run(judge, capture_output=True, text=True, timeout=60, check=True).stdout
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert float(level) <= WORST


def test_it_is_not_killed_while_requests_end() -> None:
    """The system waits longer than the server does."""
    (seconds,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", UNIT.read_text())
    assert int(seconds) > GRACE_SECONDS


@pytest.mark.parametrize(
    ("program", "file", "says"),
    [
        ("systemd-sysusers", "yoq-web.sysusers", "yoq-web"),
        ("systemd-tmpfiles", "yoq-web.tmpfiles", "yoq-web.env"),
    ],
)
def test_user_and_files_are_made(tmp_path: Path, program: str, file: str, says: str) -> None:
    """In an empty root the user is made, and the settings' file for root alone."""
    (tmp_path / "etc").mkdir()
    if program == "systemd-tmpfiles":
        (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nyoq-web:x:990:990::/:/bin/false\n")
        (tmp_path / "etc" / "group").write_text("root:x:0:\nyoq-web:x:990:\n")
        action = ["--create"]
    else:
        action = []
    made = subprocess.run(
        [find_program(program), f"--root={tmp_path}", *action, DEPLOY / "systemd" / file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    if program == "systemd-tmpfiles":
        assert (tmp_path / "etc" / says).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "var" / "lib" / "yoq-web").stat().st_mode & 0o777 == 0o700
    else:
        assert says in (tmp_path / "etc" / "passwd").read_text()
