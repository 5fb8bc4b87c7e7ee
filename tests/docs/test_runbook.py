"""The runbook has everything that /health can say: its members, and the texts of what stands in the way of sealing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import yoq_audit
import yoq_web
from tests.support.pages import page
from yoq_web.backup import schedule
from yoq_web.database import file_watch

AUDIT = Path(yoq_audit.__file__).parent
CORE = Path(yoq_web.__file__).parent
RUNBOOK = " ".join(page("operate/runbook.md").split())

STOPPERS = {"Rewound", "HeadMissing", "CannotSign", "SettingsError", "LogError"}
"""What sealing may end with."""


def pieces(node: ast.expr | None, module: ast.Module) -> list[str]:
    """Return the constant parts of a text, also of one that is kept under a name."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if isinstance(node, ast.Name):
        for statement in module.body:
            if isinstance(statement, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in statement.targets
            ):
                return pieces(statement.value, module)
    return []


def said() -> Iterator[str]:
    """Yield the longest constant part of each text that can become one of /health's."""
    for path in [*sorted((AUDIT / "sealing").glob("*.py")), CORE / "files.py"]:
        module = ast.parse(path.read_text())
        for node in ast.walk(module):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in STOPPERS:
                yield max(pieces(call.args[0], module), key=len, default="")
    for path in (
        AUDIT / "sealing" / "sealer.py",
        AUDIT / "sealing" / "overdue.py",
        AUDIT / "sealing" / "clock_watch.py",
        AUDIT / "retention" / "schedule.py",
    ):
        module = ast.parse(path.read_text())
        for node in ast.walk(module):
            if isinstance(node, ast.JoinedStr) and (found := pieces(node, module)):
                yield max(found, key=len)
    yield from (file_watch.LOST, file_watch.IN_USE, file_watch.BEGUN_ANEW)
    yield from (schedule.FAILED, schedule.NOT_REMOVED, schedule.OVERDUE)
    yield "it cannot say how it is"
    yield "cannot be read"
    yield "does not answer"
    yield "it does not answer"


AT_START = {"", "the data directory", "the database", "cannot be made"}
"""What only a start can end with."""

TEXTS = sorted({" ".join(text.split()).strip(" :;,") for text in said()} - AT_START)


def test_the_texts_are_found() -> None:
    """What the other test goes through is not empty because something was moved."""
    assert len(TEXTS) > 12
    assert any("are not those that" in text for text in TEXTS)


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_in_the_runbook(text: str) -> None:
    """Each text has a row with its cause and its cure. A text is cut where the page may shorten it."""
    for part in re.split(r"[;,:(]", text)[:2]:
        assert part.strip() in RUNBOOK


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_member_is_in_the_runbook(app: Flask) -> None:
    """Each member of the answer has a row."""
    schema = app.test_client().get("/openapi.json").get_json()["components"]["schemas"]["service.Health"]
    for member in schema["properties"]:
        assert f"| `{member}` |" in RUNBOOK, member
