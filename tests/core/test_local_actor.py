"""Who is at the command line: what the kernel knows, and never what the environment says."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from tests.support.served import command
from yoq_web import actors
from yoq_web.actors import make_local_actor

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_UID", "HOME")
"""What programs take for the name of who they run as."""


def test_the_environment_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set there, the user and the uid are those of the process."""
    before = make_local_actor()
    for name in NAMES:
        monkeypatch.setenv(name, "alice")
    assert make_local_actor() == before
    assert (before.kind, before.label) == ("local", "local")
    assert before.details["os_uid"] == os.geteuid()
    assert before.details["os_user"] == pwd.getpwuid(os.geteuid()).pw_name


def test_what_is_claimed_is_called_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind sudo everybody is root; who sudo says it was is recorded as its word, which anybody can give."""
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("DOAS_USER", "")
    details = make_local_actor().details
    assert details["claimed_sudo_user"] == "alice"
    assert "claimed_doas_user" not in details
    assert details["os_user"] == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize(
    ("content", "login"),
    [
        ("0", {"login_uid": 0, "login_user": "root"}),
        ("54321\n", {"login_uid": 54321, "login_user": "#54321"}),
        (str(2**32 - 1), {}),
        ("", {}),
        (None, {}),
    ],
)
def test_the_login_is_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, login: dict[str, object]
) -> None:
    """Who logged in stays known behind sudo and su; there is nothing where the kernel knows of no login."""
    file = tmp_path / "loginuid"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(actors, "LOGIN_UID", file)
    details = make_local_actor().details
    assert {name: value for name, value in details.items() if name.startswith("login")} == login


@pytest.mark.program
def test_an_entry_says_who_it_was(tmp_path: Path) -> None:
    """The program itself, told another name by its environment."""
    lies = dict.fromkeys(NAMES, "alice") | {"HOME": str(tmp_path), "SUDO_USER": "bob"}
    assert command(tmp_path, "secret", "list", **lies).returncode == 0
    (entry,) = json.loads(command(tmp_path, "audit", "list", "--json").stdout)
    assert entry["details"]["os_uid"] == os.geteuid()
    assert entry["details"]["os_user"] == pwd.getpwuid(os.geteuid()).pw_name
    assert entry["details"]["claimed_sudo_user"] == "bob"
    assert "alice" not in json.dumps(entry)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize(("uid", "name"), [(pwd.getpwnam("nobody").pw_uid, "nobody"), (54321, "#54321")])
def test_the_effective_user_counts(monkeypatch: pytest.MonkeyPatch, uid: int, name: str) -> None:
    """Of a process that runs as another user, and as one that has no name, as in many containers."""
    monkeypatch.setenv("LOGNAME", "root")
    os.seteuid(uid)
    try:
        details = make_local_actor().details
    finally:
        os.seteuid(0)
    assert (details["os_uid"], details["os_user"]) == (uid, name)
