"""The README is true: its settings, commands, links, tree and tour are those of the program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import ADMIN
from tests.support.served import Served
from yoq_audit.settings import SETTINGS
from yoq_web.settings import TABLE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_setting_is_listed() -> None:
    """The table has each variable that is read, and no other."""
    assert tuple(re.findall(r"^\| `(YOQ_\w+)`", section("Settings"), re.MULTILINE)) == tuple(
        setting.variable for setting in (*TABLE, *SETTINGS)
    )


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_listed_command_exists(app: Flask) -> None:
    """Each group and command in the table answers `--help`; each group of the program is in the table."""
    named: set[str] = set()
    for cell in re.findall(r"^\| (`(?:\\\||[^|])+) \|", section("The command line"), re.MULTILINE):
        for text in re.findall(r"`([^`]+)`", cell.replace("\\|", "|")):
            group, *words = text.split()
            named.add(group)
            names = [group]
            if group != "serve":
                # `policy allow | deny | rm SOURCE TARGET` is three commands.
                plain = " ".join(words).partition("[")[0]
                names = [f"{group} {part.split()[0]}" for part in plain.split("|") if part.split()]
            for name in names:
                done = app.test_cli_runner().invoke(args=[*name.split(), "--help"])
                assert done.exit_code == 0, f"{name}: {done.output}"
    assert named == set(app.cli.commands)


def test_every_link_leads_somewhere() -> None:
    """Links to files of the project name files that exist."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_tree_names_files_that_exist() -> None:
    """Each file and folder of the tree is there."""
    tree = section("How it is built").partition("```\n")[2].partition("```")[0]
    names = re.findall(r"[\w/]+(?:\.py|/)(?= |$)", tree, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert any((ROOT / folder / name).exists() for folder in ("", "yoq_web", "plugins", "plugins/yoq_audit")), name


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_tour_can_be_walked(served: Served) -> None:
    """Each line of the tour works as it stands, and answers what its comment says."""
    tour = section("A first tour").partition("```sh\n")[2].partition("```")[0]
    steps = [line for line in tour.splitlines() if line.startswith("call ")]
    assert len(steps) == 5
    call = f'call() {{ curl -sH "Authorization: Bearer {ADMIN}" "$@"; }}\n'
    for step in steps:
        command, _, comment = step.replace("http://127.0.0.1:7700", served.url).partition("  #")
        done = subprocess.run(["/bin/sh", "-c", call + command], capture_output=True, text=True, check=True)
        assert not done.stdout.startswith('{"error"')
        if comment.strip().startswith(("{", "[")):
            assert done.stdout == comment.strip()
