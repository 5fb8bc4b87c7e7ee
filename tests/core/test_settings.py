"""Settings without effect are told at the start, so that a slip of the pen does not go unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import ADMIN, MakeApp
from tests.support.plugins import contributing
from tests.support.served import serve


def reasons(make_app: MakeApp, **config: str) -> list[str]:
    """What a start with these settings and a plugin `things` warns of."""
    with capture_logs() as lines:
        make_app(contributing("things"), **config)
    return [line["reason"] for line in lines if line["log_level"] == "warning"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_has_no_effect_is_told(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown variable and a blocked plugin that is not installed are named; a plugin's own variables are not."""
    monkeypatch.setenv("YOQ_DATADIR", "/somewhere")
    monkeypatch.setenv("YOQ_THINGS_COLOUR", "red")
    monkeypatch.setenv("YOQ_AUDIT_LATER", "x")
    config = {"YOQ_LOG_ORIGIN": "example.org/log", "YOQ_BLOCKED_PLUGINS": "thing, things"}
    assert reasons(make_app, **config) == [
        "there is no setting YOQ_DATADIR",
        "YOQ_BLOCKED_PLUGINS names 'thing', which is not installed",
    ]
    monkeypatch.delenv("YOQ_DATADIR")
    assert reasons(make_app) == []


@pytest.mark.program
def test_the_program_tells_it_once(tmp_path: Path) -> None:
    """A served program warns at its start, not again in the process that serves."""
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN, YOQ_PROT="7701") as program:
        assert program("GET", "/health").status_code == 200
    assert program.log.read_text().count("there is no setting YOQ_PROT") == 1
