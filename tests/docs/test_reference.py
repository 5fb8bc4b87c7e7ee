"""The reference is that of the program: its settings, its commands, and the tree of its files."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support.pages import ROOT, block, page
from yoq_audit.settings import SETTINGS
from yoq_web.settings import TABLE


def test_every_setting_is_listed() -> None:
    """The table has each variable that is read, and no other."""
    assert tuple(re.findall(r"^\| `(YOQ_\w+)`", page("reference/settings.md"), re.MULTILINE)) == tuple(
        setting.variable for setting in (*TABLE, *SETTINGS)
    )


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_listed_command_exists(app: Flask) -> None:
    """Each group and command in the table answers `--help`; each group of the program is in the table."""
    named: set[str] = set()
    for cell in re.findall(r"^\| (`(?:\\\||[^|])+) \|", page("reference/cli.md"), re.MULTILINE):
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


def test_the_tree_names_files_that_exist() -> None:
    """Each file and folder of the tree is there."""
    tree = block(page("project/architecture.md"), "")
    names = re.findall(r"[\w/]+(?:\.py|/)(?= |$)", tree, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert any((ROOT / folder / name).exists() for folder in ("", "yoq_web", "plugins", "plugins/yoq_audit")), name
