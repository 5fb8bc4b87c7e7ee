"""A plugin that raises, hangs, floods, lies or returns nonsense outside the recorder harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from flask import g
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from tests.support.plugins import Made, noting
from yoq_web import Actor, Event, Operation, Veto, db
from yoq_web.actors import ADMIN, set_actor
from yoq_web.hooks.host import current_host
from yoq_web.metrics import current_metrics

SECRET = {"name": "db", "value": "hunter2"}
NOTIFYING = ["yoq_operation_committed", "yoq_operation_failed"]


def set_secret(api: Api) -> int:
    """Perform an operation; returns the status."""
    return api("POST", "/v1/secrets", json=SECRET).status_code


def actions(api: Api) -> list[tuple[str, str]]:
    """Actions and outcomes in the trail, the newest first."""
    return [(entry["action"], entry["outcome"]) for entry in api.entries()]


@pytest.mark.parametrize("error", [RuntimeError("wrong"), SystemExit(3), OSError(28, "full")], ids=repr)
def test_a_plugin_that_raises_wherever_it_can(make_app: MakeApp, error: Exception) -> None:
    """Operations are performed and recorded, failures are recorded, and the trail can be read."""

    def fail() -> NoReturn:
        raise error

    hooks = ("yoq_record_operation", "yoq_operation_committed", "yoq_operation_failed", "yoq_describe_actor")
    api = Api(make_app(Made("rowdy", **dict.fromkeys(hooks, fail))))
    assert set_secret(api) == 200
    assert api("POST", "/v1/tokens", json={"name": "local", "scopes": ["*"]}).status_code == 409
    assert api("GET", "/v1/secrets").json == ["db"]
    assert actions(api) == [("secret_list", "ok"), ("token_create", "failed"), ("secret_set", "ok")]


def spoil_g() -> None:
    """Put nonsense, or more power, in the place of what the core keeps."""
    for name in list(vars(g)):
        setattr(g, name, 5)
    set_actor(ADMIN)


BEFORE: dict[str, tuple[Callable[[], object], int, int]] = {
    "returns nonsense": (object, 200, 200),
    "empties g": (lambda: vars(g).clear(), 200, 200),
    "spoils g": (spoil_g, 200, 200),
    "commits": (db.session.commit, 200, 403),
    "rolls back": (db.session.rollback, 200, 403),
    "removes the session": (db.session.remove, 200, 403),
    "commits the connection": (lambda: db.session.connection().commit(), 403, 403),
    "rolls back the connection": (lambda: db.session.connection().rollback(), 200, 500),
    "executes nonsense": (lambda: db.session.execute(text("SELECT nothing FROM nowhere")), 403, 403),
    "vetoes without a word": (lambda: (_ for _ in ()).throw(Veto), 403, 403),
    "vetoes with nonsense": (lambda: (_ for _ in ()).throw(Veto("\ud800\0")), 403, 403),
    "vetoes at length": (lambda: (_ for _ in ()).throw(Veto("no" * 10_000)), 403, 403),
}
"""An attack, and how it is answered before the transaction, where it has a session of its own, and inside it."""


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", BEFORE)
def test_a_plugin_that_does_its_worst_before_the_change(make_app: MakeApp, name: str, inside: bool) -> None:
    """The operation is performed and recorded, or refused and recorded: its change is there in the first case only."""
    attack, beside, status = BEFORE[name]
    status = status if inside else beside

    def before(event: Event) -> object:
        return attack() if event.operation.name == "secret_set" else None

    def before_inside(event: Event, session: Session) -> object:
        return before(event)

    api = Api(make_app(Made("hostile", yoq_before_operation=before_inside if inside else before)))
    ci = api.token("secrets:write")
    for _ in range(2):
        answer = ci("POST", "/v1/secrets", json=SECRET)
        assert answer.status_code == status
        assert answer.headers["Audit-Id"]
    assert api("GET", "/v1/secrets").json == (["db"] if status == 200 else [])
    outcome = {200: "ok", 403: "denied", 500: "failed"}[status]
    assert actions(api)[1:3] == [("secret_set", outcome)] * 2
    assert api.entries()[1]["actor"] == "ci"


NOBODY: dict[str, Callable[[], object]] = {
    "a name": lambda: "api-token",
    "true": lambda: True,
    "a list": lambda: ["*"],
    "a tuple": lambda: ("admin", "api-token", ("*",)),
    "a text for scopes": lambda: Actor("token", "ann", "secrets:*"),  # type: ignore[arg-type]
    "no scopes": lambda: Actor("token", "ann", None),  # type: ignore[arg-type]
    "a number among the scopes": lambda: Actor("token", "ann", ("*", 5)),  # type: ignore[arg-type]
    "no label": lambda: Actor("token", "", ("*",)),
    "a number for a label": lambda: Actor("token", 5, ("*",)),  # type: ignore[arg-type]
    "a label with NUL": lambda: Actor("token", "an\0n", ("*",)),
    "a label that is no text": lambda: Actor("token", "\ud800", ("*",)),
    "a label without end": lambda: Actor("token", "a" * 65, ("*",)),
    "no such kind": lambda: Actor("god", "ann", ("*",)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", NOBODY)
@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_authenticator_that_returns_nonsense(make_app: MakeApp, case: str) -> None:
    """It lets nobody in: neither with more than it said, nor as somebody whose deeds could not be recorded."""
    api = Api(make_app(Made("who", yoq_authenticate=NOBODY[case])))
    assert api.with_token(None)("GET", "/v1/secrets").status_code == 503
    assert set_secret(api) == 503


def test_an_authenticator_that_sets_the_actor_itself(make_app: MakeApp) -> None:
    """Only what it returns counts."""
    api = Api(make_app(Made("who", yoq_authenticate=lambda: set_actor(ADMIN))))
    assert api.with_token(None)("GET", "/v1/secrets").status_code == 401


@pytest.mark.parametrize("description", [5, object, b"bytes", ["list"], "\ud800", "\0", "x" * 100_000])
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_description_that_is_nonsense(make_app: MakeApp, description: object) -> None:
    """The trail can be read."""
    api = Api(make_app(Made("directory", yoq_describe_actor=lambda: description)))
    assert set_secret(api) == 200
    assert [entry["actor"] for entry in api.entries()] == ["api-token"]


def commit_more() -> None:
    """Change data without an operation."""
    db.session.execute(text("DELETE FROM secrets"))
    db.session.commit()


class Gone(BaseException):
    """What nobody expects to be raised."""


def vanish() -> NoReturn:
    """Raise it."""
    raise Gone


@pytest.mark.parametrize("attack", [commit_more, vanish])
@pytest.mark.parametrize("hook", NOTIFYING)
def test_a_listener_that_does_its_worst(make_app: MakeApp, hook: str, attack: Callable[[], object]) -> None:
    """It changes nothing, ends no thread, and is told the next time; the others are told, too."""
    reached: list[Event] = []

    def tell(event: Event) -> object:
        reached.append(event)
        return attack()

    others: list[Event] = []
    app = make_app(Made("hostile", **{hook: tell}), Made("other", **{hook: noting(others)}))
    api = Api(app)
    for _ in range(2):
        assert set_secret(api) == 200
        assert api("POST", "/v1/tokens", json={"name": "local", "scopes": ["*"]}).status_code == 409
    current_host(app).drain(10)
    assert (len(reached), len(others)) == (2, 2)
    failures = {"plugin": "hostile", "hook": hook}
    assert current_metrics(app).registry.get_sample_value("yoq_hook_failures_total", failures) == 2
    assert api("GET", "/v1/secrets").json == ["db"]


class Hanging:
    """A plugin that hangs when it is told of a commit, until it is released."""

    name = "hanging"

    def __init__(self) -> None:
        self.released = threading.Event()
        self.told: list[Event] = []

    def plugin(self) -> Made:
        """The plugin."""

        def tell(event: Event) -> None:
            self.released.wait(60)
            self.told.append(event)

        return Made("hanging", yoq_operation_committed=tell)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A plugin that hangs; released at the end of the test."""
    plugin = Hanging()
    yield plugin
    plugin.released.set()


def test_a_listener_that_hangs(make_app: MakeApp, hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come, the others are told, and it gets everything in order once it wakes."""
    monkeypatch.setattr("yoq_web.hooks.notifier.PATIENCE", 0.05)
    others: list[Event] = []
    app = make_app(hanging.plugin(), Made("other", yoq_operation_committed=noting(others)))
    api = Api(app)
    for number in range(5):
        assert api("POST", "/v1/secrets", json={"name": f"s{number}", "value": "v"}).status_code == 200
    assert [event.target for event in others] == ["s0", "s1", "s2", "s3", "s4"]
    assert hanging.told == []
    assert actions(api) == [("secret_set", "ok")] * 5
    hanging.released.set()
    current_host(app).drain(10)
    assert hanging.told == others


def test_a_flood_for_a_listener_that_hangs(
    make_app: MakeApp, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it cannot take is dropped and counted, not kept without bound; nothing else is lost."""
    monkeypatch.setattr("yoq_web.hooks.notifier.PATIENCE", 0.05)
    monkeypatch.setattr("yoq_web.hooks.notifier.BACKLOG", 3)
    others: list[Event] = []
    app = make_app(hanging.plugin(), Made("other", yoq_operation_committed=noting(others)))
    api = Api(app)
    for _ in range(10):
        assert set_secret(api) == 200
    assert len(others) == 10
    assert actions(api) == [("secret_set", "ok")] * 10
    labels = {"plugin": "hanging", "hook": "yoq_operation_committed"}
    assert current_metrics(app).registry.get_sample_value("yoq_hook_failures_total", labels) == 6
    hanging.released.set()
    current_host(app).drain(10)
    assert hanging.told == others[:4]


def test_no_thread_can_be_started(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation has ended when plugins are told: that they cannot be changes nothing about it."""

    def start(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    api = Api(make_app(Made("listener", yoq_operation_committed=lambda: None)))
    monkeypatch.setattr(threading.Thread, "start", start)
    assert set_secret(api) == 200
    assert actions(api) == [("secret_set", "ok")]


def test_an_operation_that_nobody_contributes(make_app: MakeApp) -> None:
    """It cannot be performed, whosever label it bears: neither a stranger's nor a forged one."""
    app = make_app()
    for forged in (Operation("secret_set", "Set", "secrets:read"), Operation("stray_act", "Act", "*")):
        with app.app_context():
            set_actor(ADMIN)
            with pytest.raises(RuntimeError, match="is not contributed"), forged.performed():
                pytest.fail("performed")
    assert actions(Api(app)) == []
