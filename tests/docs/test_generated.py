"""What the program writes into the pages is what it says today, and says all there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest
from flask import Flask

import yoq_audit
import yoq_web
from docs.generator.blocks import BLOCK
from docs.generator.hooks import SPECS
from docs.generator.pages import DOCS, list_pages, list_writers, write_page
from tests.support.pages import anchors, page
from yoq_audit.settings import SETTINGS
from yoq_web import current_operations
from yoq_web.backup.settings import SETTINGS as BACKUP
from yoq_web.logs import SETTINGS as LOGS
from yoq_web.settings import TABLE

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.mark.parametrize("path", list_pages(), ids=lambda path: str(path.relative_to(DOCS)))
def test_no_page_is_stale(app: Flask, path: Path) -> None:
    """Each page is as `./run docs --write` would leave it."""
    with app.app_context():
        assert path.read_text() == write_page(path, app), "run: ./run docs --write"


def test_every_writer_is_used(app: Flask) -> None:
    """Nothing is written that no page shows."""
    used = {found[2] for path in list_pages() for found in BLOCK.finditer(path.read_text())}
    assert used == set(list_writers(app))


def test_every_setting_is_listed(app: Flask) -> None:
    """The table has each variable that is read, and no other, in the order in which they are declared."""
    named = [line.split("`")[1] for line in page("reference/settings.md").splitlines() if line.startswith("| `YOQ_")]
    assert named == [setting.variable for setting in (*TABLE, *LOGS, *BACKUP, *SETTINGS)]


def test_every_action_is_in_the_catalogue(app: Flask) -> None:
    """Each operation of the program has its place, and may be linked to."""
    with app.app_context():
        assert set(current_operations()) <= anchors(page("trail/actions.md"))


def test_every_command_is_in_the_reference(app: Flask) -> None:
    """Each command has its place, and the line that shows how it is used."""

    def walk(command: click.Command, path: str) -> None:
        assert f"# {path}\n" in text
        if isinstance(command, click.Group):
            for name, below in command.commands.items():
                walk(below, f"{path} {name}")
        else:
            assert f"\nyoq-web {path} " in text

    text = page("reference/cli.md")
    for name, command in app.cli.commands.items():
        walk(command, name)


def test_every_route_is_in_the_reference(app: Flask) -> None:
    """Each path and method that the server describes has its place."""
    paths = app.test_client().get("/openapi.json").get_json()["paths"]
    for path, methods in paths.items():
        for method in methods:
            assert f"\n### {method.upper()} {path}\n" in page("reference/api.md")


def test_every_public_name_is_listed(backend: str) -> None:
    """The table of what a plugin may import has each name, and no other."""
    rows = [line for line in page("plugins/api.md").splitlines() if line.startswith("| `")]
    assert {line.split("`")[1] for line in rows} == {*yoq_web.__all__, *yoq_audit.__all__}


def test_every_field_of_a_contribution_is_explained(backend: str) -> None:
    """The tutorial says of each field what goes in."""
    for field in dataclasses.fields(yoq_web.Contribution):
        assert f"\n| `{field.name}` |" in page("plugins/index.md"), field.name


@pytest.mark.parametrize("name", list(SPECS))
def test_every_hook_says_what_happens_if_it_raises(backend: str, name: str) -> None:
    """Each hook has a section of its own, the last sentences of which are about failure."""
    section = page("plugins/hooks.md").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert "\n\nIf it raises" in section
