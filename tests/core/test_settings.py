"""Settings without effect are told at the start, so that a slip of the pen does not go unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import ADMIN, MakeApp
from tests.support.plugins import contributing
from tests.support.served import serve
from yoq_audit.settings import SETTINGS
from yoq_web.backup.settings import SETTINGS as BACKUP
from yoq_web.settings import TABLE


def reasons(make_app: MakeApp, **config: str) -> list[str]:
    """What a start with these settings and a plugin `things` warns of."""
    with capture_logs() as lines:
        make_app(contributing("things"), **config)
    return [line["reason"] for line in lines if line["log_level"] == "warning"]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_has_no_effect_is_told(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown variable and a blocked plugin that is not installed are named, with the nearest that there is.

    Variables of a plugin that declares no settings are its own.
    """
    monkeypatch.setenv("YOQ_DATADIR", "/somewhere")
    monkeypatch.setenv("YOQ_THINGS_COLOUR", "red")
    monkeypatch.setenv("YOQ_AUDIT_LATER", "x")
    config = {"YOQ_LOG_ORIGIN": "example.org/log", "YOQ_BLOCKED_PLUGINS": "thing, things"}
    assert reasons(make_app, **config) == [
        "there is no setting YOQ_AUDIT_LATER: did you mean YOQ_AUDIT_FAILURE?",
        "there is no setting YOQ_DATADIR: did you mean YOQ_DATA_DIR?",
        "YOQ_BLOCKED_PLUGINS names 'thing', which is not installed: did you mean things?",
    ]
    monkeypatch.delenv("YOQ_DATADIR")
    monkeypatch.delenv("YOQ_AUDIT_LATER")
    assert reasons(make_app) == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_slip_in_every_setting(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each setting, a domain's and plugins' too, a letter too few is told with the name that was meant."""
    for setting in (*TABLE, *BACKUP, *SETTINGS):
        slip = setting.variable[:-2] + setting.variable[-1]
        monkeypatch.setenv(slip, "x")
        assert f"there is no setting {slip}: did you mean {setting.variable}?" in reasons(make_app)
        monkeypatch.delenv(slip)


@pytest.mark.program
def test_the_program_tells_it_once(tmp_path: Path) -> None:
    """A served program warns at its start, not again in the process that serves."""
    with serve(tmp_path, YOQ_API_TOKEN=ADMIN, YOQ_PROT="7701") as program:
        assert program("GET", "/health").status_code == 200
    assert program.log.read_text().count("there is no setting YOQ_PROT") == 1
