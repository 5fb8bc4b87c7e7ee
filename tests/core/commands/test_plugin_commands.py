"""The `plugins` commands: what is installed, what was refused and why, and exit codes that scripts can trust."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.plugins import HARMLESS, distribution
from tests.support.served import command

pytestmark = pytest.mark.program


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder to install distributions into; commands find it in PYTHONPATH."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def test_everything_is_well(tmp_path: Path, site: Path) -> None:
    """`list` shows the plugins in load order, as a table and as JSON; `check` says so and exits with 0."""
    distribution(site, "harmless", HARMLESS)
    listed = command(tmp_path, "plugins", "list", PYTHONPATH=str(site))
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert lines[0] == ["NAME", "STATE", "DISTRIBUTION", "ERROR"]
    assert [(line[0], line[1], line[-1]) for line in lines[1:]] == [
        ("audit", "active", "-"),
        ("harmless", "active", "-"),
        ("wire", "active", "-"),
    ]
    found = json.loads(command(tmp_path, "plugins", "list", "--json", PYTHONPATH=str(site)).stdout)
    assert found[1] == {"name": "harmless", "distribution": "harmless 1.0", "state": "active", "error": None}
    checked = command(tmp_path, "plugins", "check", PYTHONPATH=str(site))
    assert (checked.returncode, checked.stdout) == (0, "3 in use, none refused\n")


def test_some_are_refused_and_some_blocked(tmp_path: Path, site: Path) -> None:
    """`check` names the refused ones with the reason and exits with 1; a blocked one is no fault."""
    distribution(site, "aaa", "raise SystemExit('gone')")
    distribution(site, "bbb", HARMLESS, aaa="bbb", blocked="bbb")
    settings = {"PYTHONPATH": str(site), "YOQ_BLOCKED_PLUGINS": "blocked"}
    checked = command(tmp_path, "plugins", "check", **settings)
    assert checked.returncode == 1
    told = [line for line in checked.stderr.splitlines() if not line.startswith("{")]
    assert told == ["aaa: SystemExit: gone", "aaa: aaa 1.0 has a plugin of the same name", "2 refused"]
    listed = command(tmp_path, "plugins", "list", "--json", **settings)
    assert listed.returncode == 0
    states = [(plugin["name"], plugin["distribution"], plugin["state"]) for plugin in json.loads(listed.stdout)]
    assert states[1:] == [
        ("aaa", "aaa 1.0", "refused"),
        ("blocked", "bbb 1.0", "blocked"),
        ("wire", states[3][1], "active"),
        ("aaa", "bbb 1.0", "refused"),
    ]
    set_ = command(tmp_path, "secret", "set", "db", stdin="hunter2", **settings)
    assert (set_.returncode, set_.stdout) == (0, command(tmp_path, "secret", "set", "db", stdin="hunter2").stdout)


def test_a_detail_that_no_function_has_is_told(tmp_path: Path, site: Path) -> None:
    """A plugin whose operation would fail at every call is refused, with what is wrong."""
    source = "import yoq_web\nthings = yoq_web.Resource('things', __name__)\n"
    source += "@things.operation('things_put', 'PUT /v1/things/<name>', details=('vlaue',))\n"
    source += "def put(name: str, value: str) -> None:\n    'Put a thing.'\n"
    distribution(site, "things", source)
    checked = command(tmp_path, "plugins", "check", PYTHONPATH=str(site))
    assert checked.returncode == 1
    assert "things: TypeError: things_put declares the detail 'vlaue', which is no argument of put()" in checked.stderr


def test_no_command_comes_in_by_another_door(tmp_path: Path, site: Path) -> None:
    """A distribution that adds commands to every Flask program takes the place of none of ours, and breaks none."""
    distribution(site, "sly", "import click\n@click.command()\ndef steal():\n    print('stolen')\n")
    points = "[flask.commands]\nsecret = sly:steal\nplugins = sly:nothing\n"
    (site / "sly-1.0.dist-info" / "entry_points.txt").write_text(points)
    listed = command(tmp_path, "secret", "list", PYTHONPATH=str(site))
    assert (listed.returncode, listed.stdout) == (0, command(tmp_path, "secret", "list").stdout)
    assert command(tmp_path, "plugins", "check", PYTHONPATH=str(site)).returncode == 0


def test_without_the_audit_plugin_nothing_runs(tmp_path: Path) -> None:
    """Every command, `serve` among them, ends with one line that says what is required, and exit code 1."""
    for arguments in (["plugins", "check"], ["secret", "list"], ["serve"]):
        done = command(tmp_path, *arguments, YOQ_BLOCKED_PLUGINS="audit")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.strip() == "the plugin 'audit' is required and is blocked"
