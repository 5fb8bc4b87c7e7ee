"""What the log says of an exception: where, of what type and why; never its message, which may be a secret value."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from tests.conftest import ADMIN, Api, MakeApp
from tests.support.plugins import Made, distribution
from tests.support.served import serve
from yoq_web import Contribution, db, endpoint
from yoq_web.hooks.host import current_host
from yoq_web.logs import render_exception

CANARY = "canary-5b2e1d-message"


def fail(*_arguments: object) -> None:
    """What a careless plugin does, with a cause that says it as well."""
    try:
        os.environ[CANARY]
    except KeyError as error:
        raise ValueError(f"cannot use {CANARY}") from error


def careless(hook: str) -> Made:
    """A plugin whose implementation of a hook fails."""
    hooks: dict[str, Callable[..., Any]] = {
        "yoq_authenticate": lambda request: fail(),
        "yoq_before_operation": lambda event: fail(),
        "yoq_record_operation": lambda event, session: fail(),
        "yoq_operation_committed": lambda event: fail(),
        "yoq_operation_failed": lambda event, error: fail(),
        "yoq_describe_actor": lambda actor: fail(),
    }
    return Made("careless", **{hook: hooks[hook]})


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    "hook",
    [
        "yoq_authenticate",
        "yoq_before_operation",
        "yoq_record_operation",
        "yoq_operation_committed",
        "yoq_operation_failed",
        "yoq_describe_actor",
    ],
)
def test_a_hooks_message_is_not_logged(make_app: MakeApp, hook: str) -> None:
    """Whichever hook raises, the log has the type of its exception and not the text."""
    app = make_app(careless(hook))
    api = Api(app)
    with capture_logs() as lines:
        api("POST", "/v1/secrets", json={"name": "db", "value": "x"})
        if hook == "yoq_operation_failed":
            assert api.token("secrets:read")("DELETE", "/v1/secrets/db").status_code == 403
        api.with_token("0" * 64)("GET", "/v1/audit")
        api("GET", "/v1/audit")
        current_host(app).drain(10)
    assert "ValueError" in str(lines)
    assert CANARY not in str(lines)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_views_message_is_not_logged(make_app: MakeApp) -> None:
    """A route that raises is a defect that the log locates, causes included, without repeating what it said."""
    api = Api(make_app(failing_routes()))
    with capture_logs() as lines:
        assert api("GET", "/v1/careless").status_code == 500
    (line,) = [line for line in lines if line["event"] == "request failed"]
    assert line["exception"].startswith("ValueError\n")
    assert "in fail" in line["exception"]
    assert "caused by KeyError" in line["exception"]
    assert CANARY not in str(lines)


def failing_routes() -> Made:
    """A plugin with a route that raises."""
    blueprint = Blueprint("careless", __name__)

    @blueprint.get("/v1/careless")
    @endpoint(scope="careless:read")
    def view() -> None:
        """Fail."""
        fail()

    return Made("careless", yoq_contribute=lambda app: Contribution(blueprints=[blueprint]))


SOURCE = """
import yoq_web
from flask import Blueprint

blueprint = Blueprint("careless", __name__)


@blueprint.get("/v1/careless")
@yoq_web.endpoint(scope="careless:read")
def view():
    raise ValueError("CANARY")


@yoq_web.hookimpl
def yoq_contribute():
    return yoq_web.Contribution(blueprints=[blueprint])


@yoq_web.hookimpl
def yoq_operation_committed(event):
    raise ValueError("CANARY")
""".replace("CANARY", CANARY)


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_message_in_the_served_log(database_url: str, tmp_path: Path) -> None:
    """The program's own log, tracebacks included, has no message of a plugin's exception, nor the line that made it."""
    packages = tmp_path / "packages"
    packages.mkdir()
    distribution(packages, "careless", SOURCE)
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN, "PYTHONPATH": str(packages)}
    with serve(tmp_path, **settings) as program:
        assert program("GET", "/v1/careless").status_code == 500
        assert program("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200
        assert program("GET", "/health").status_code == 200
    log = program.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"request failed", "a plugin failed"} <= {line["event"] for line in lines}
    assert "ValueError" in log
    assert CANARY not in log


def test_pythons_own_logging_shows_no_message(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    """Flask's and plugins' calls of Python's logging, which bring the exception itself, are rendered the same."""
    (handler,) = logging.getLogger("yoq_web").handlers
    try:
        fail()
    except ValueError as error:
        record = logging.LogRecord("yoq_web", logging.ERROR, "", 1, "failed", None, (ValueError, error, None))
    shown = handler.format(record)
    assert "caused by KeyError" in shown
    assert CANARY not in shown


def test_the_systems_and_the_databases_messages_stay(app: Flask) -> None:
    """What the system says of a file and the database of a statement names no value and is told."""
    with pytest.raises(FileNotFoundError) as missing:
        Path("/nowhere/at/all").read_text()
    assert "No such file or directory: '/nowhere/at/all'" in render_exception(missing.value)
    with app.app_context(), pytest.raises(Exception, match="nowhere") as unknown:
        db.session.execute(text("SELECT :value FROM nowhere"), {"value": CANARY})
    assert "nowhere" in render_exception(unknown.value)
    assert CANARY not in render_exception(unknown.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(CANARY),
        type("Remote", (OSError,), {})(5, CANARY),
        IntegrityError("INSERT", {}, Exception(f"Key (name)=({CANARY}) already exists")),
        ExceptionGroup(CANARY, [ValueError(CANARY), ExceptionGroup(CANARY, [KeyError(CANARY)])]),
        UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    ],
    ids=["no number", "not the system's", "a row", "a group", "an input"],
)
def test_any_other_message_does_not(error: BaseException) -> None:
    """A library's OSError, a row that clashes and the members of a group are told by their types."""
    error.add_note(CANARY)
    assert CANARY not in render_exception(error)
    assert type(error).__qualname__ in render_exception(error)


def test_a_loop_of_causes_ends() -> None:
    """An exception that is its own cause, and a stack of a thousand calls, make a short text."""

    def deep(levels: int) -> None:
        deep(levels - 1) if levels else fail()

    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its message is what must not matter
        deep(500)
    cause = raised.value.__cause__
    assert cause is not None
    cause.__cause__ = raised.value
    assert len(render_exception(raised.value).splitlines()) < 100
