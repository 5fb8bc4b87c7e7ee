"""A plugin's code ends nothing, whatever it raises; the operator ends the program, whatever a plugin does with that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Blueprint
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from tests.core.hooks.test_hooks import HOOKS, unwrap_key, wrap_key
from tests.support.commandline import run
from tests.support.door import probe_act
from tests.support.hooks import WRONG, Own, set_secret
from tests.support.plugins import Made, contributing
from yoq_web import Event, Keeper, Veto, endpoint
from yoq_web.hooks.errors import Aborted, isolate
from yoq_web.hooks.periodic import run_periodic_tasks

ONE = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C does what it does in a program; test processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    """Do what the operator's Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # it arrives between two steps of this process's main thread


def interrupted(**_given: object) -> None:
    """A hook during which the operator presses Ctrl-C."""
    interrupt()


def swallowing(**_given: object) -> None:
    """A hook that takes it for an error like any other."""
    with suppress(BaseException):
        interrupt()


def translating(**_given: object) -> None:
    """A hook that makes another exception of it."""
    try:
        interrupt()
    except BaseException:  # noqa: BLE001 - as careless plugins do
        raise Own from None


def acting_once(hook: str, act: Callable[..., None]) -> dict[str, Callable[..., Any]]:
    """An implementation of a hook that acts when it is called first. `beside` is a veto beside the transaction."""
    done: list[str] = []

    def once() -> None:
        if not done:
            done.append(hook)
            act()

    def inside(event: Event, session: Session) -> None:
        once()

    if hook == "beside":
        return {"yoq_before_operation": once}
    return {hook: inside if hook == "yoq_before_operation" else once}


KMS: dict[str, Callable[..., Any]] = {"yoq_wrap_key": wrap_key, "yoq_unwrap_key": unwrap_key}


def use(make_app: MakeApp, plugin: Made) -> None:
    """Have every hook called, and each that has a thread of its own waited for."""
    for _ in range(2):  # the second one has a key to unwrap
        app = make_app(plugin)
        api = Api(app)
        assert set_secret(api) == 200
        assert api("POST", "/v1/tokens", json={"name": "local", "scopes": ["*"]}).status_code == 409
        api.entries()
        assert api("GET", "/health").status_code == 200
        run_periodic_tasks(app)


@ONE
@pytest.mark.parametrize("act", [interrupted, swallowing, translating])
@pytest.mark.parametrize("hook", [*HOOKS, "beside"])
@pytest.mark.usefixtures("interruptible")
def test_the_operators_interrupt_is_not_the_plugins(make_app: MakeApp, hook: str, act: Callable[..., None]) -> None:
    """During whichever hook Ctrl-C comes, it ends what the program does, even if the plugin takes it for its own."""
    kms = {name: function for name, function in KMS.items() if name != hook}
    with pytest.raises(KeyboardInterrupt):
        use(make_app, Made("hurried", **kms, **acting_once(hook, act)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
def test_what_is_raised_is_told_by_its_kind(error: BaseException) -> None:
    """An exception comes out as it is, anything else as the cause of one; nobody else's handler of signals changes."""

    def handler(_number: int, _frame: object) -> NoReturn:
        raise Own

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(Exception) as raised, isolate():  # noqa: PT011 - any
            raise error
        assert error in (raised.value, raised.value.__cause__)
        assert isinstance(raised.value, Aborted) == (not isinstance(error, Exception))
        with pytest.raises(Own), isolate():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


@ONE
@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
def test_a_route_that_raises_whatever_there_is(make_app: MakeApp, error: BaseException) -> None:
    """It is a defect like any other: a 500 as all are, with an entry, and the log has the type without the message."""
    blueprint = Blueprint("probe", __name__)

    @blueprint.post("/v1/probe/ending")
    @endpoint(probe_act)
    def ending() -> None:
        """Raise inside the operation."""
        with probe_act.performed("ending"):
            raise error

    api = Api(make_app(contributing("probe", operations=(probe_act,), blueprints=(blueprint,)), TESTING=False))
    with capture_logs() as lines:
        answer = api("POST", "/v1/probe/ending")
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    entry = api.entries(1)[0]
    assert (entry["outcome"], entry["reason"]) == ("failed", type(error).__name__)
    assert entry["event_id"] == answer.headers["Audit-Id"]
    assert type(error).__name__ in str(lines)
    assert "hunter2" not in str(lines) + answer.text


@ONE
@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["ready", "mark"])
def test_a_keeper_that_exits_has_backed_nothing_up(
    make_app: MakeApp, tmp_path: Path, method: str, error: BaseException
) -> None:
    """The command fails, and so does the entry: nobody takes its end for a backup."""

    def fail(*_given: object) -> NoReturn:
        raise error

    keeper = type("Failing", (Keeper,), {method: fail})()
    app = make_app(contributing("failing", keeper=keeper))
    assert run(app, "backup", "--output", str(tmp_path / "b")).exit_code == 1
    entry = Api(app).entries(1)[0]
    assert (entry["action"], entry["outcome"], entry["reason"]) == ("backup", "failed", type(error).__name__)


class Unspeakable(Veto):
    """A veto that cannot say what it is."""

    def __str__(self) -> str:
        raise SystemExit


@ONE
def test_a_veto_that_cannot_be_read(make_app: MakeApp) -> None:
    """It refuses all the same, on record."""

    def before() -> NoReturn:
        raise Unspeakable

    api = Api(make_app(Made("odd", yoq_before_operation=before)))
    assert set_secret(api) == 403
    assert [entry["outcome"] for entry in api.entries()] == ["denied"]
