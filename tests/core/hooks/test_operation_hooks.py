"""The hooks that an operation calls: before, in its transaction, and after it."""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from tests.support.hooks import SECRET, raising, set_secret, told, wrong
from tests.support.plugins import Made
from yoq_web import Event, Veto
from yoq_web.metrics import current_metrics


def test_yoq_before_operation_vetoes(make_app: MakeApp) -> None:
    """The operation is refused with the plugin's words, and these are kept."""
    api = Api(make_app(Made("strict", yoq_before_operation=raising(Veto("not on a Friday")))))
    answer = api("POST", "/v1/secrets", json=SECRET)
    assert (answer.status_code, answer.json and answer.json["error"]) == (403, "not on a Friday")
    (entry,) = api.entries()
    assert (entry["action"], entry["outcome"], entry["reason"]) == ("secret_set", "denied", "not on a Friday")


@wrong
def test_yoq_before_operation_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The operation is refused and recorded as denied; its change is not made."""

    def before(event: Event) -> None:
        if event.operation.name == "secret_set":
            raise error

    api = Api(make_app(Made("strict", yoq_before_operation=before)))
    assert set_secret(api) == 403
    assert api("GET", "/v1/secrets").json == []
    entry = api.entries()[1]
    assert (entry["action"], entry["outcome"]) == ("secret_set", "denied")
    assert "strict" in entry["reason"]


def test_yoq_record_operation_shares_the_transaction(make_app: MakeApp) -> None:
    """What a recorder stores is committed with the change, and not if the operation fails."""

    def record(event: Event, session: Session) -> None:
        session.execute(
            text("INSERT INTO policies (source, target, action, created_at) VALUES ('a', :t, 'deny', 1)"),
            {"t": event.operation.name},
        )

    api = Api(make_app(Made("keeper", yoq_record_operation=record)))
    assert set_secret(api) == 200
    assert [policy["target"] for policy in api("GET", "/v1/policies").json or ()] == ["secret_set"]


@wrong
def test_yoq_record_operation_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """What it did is undone and counted; the operation goes on, and the other recorders have their record."""

    def record(session: Session) -> NoReturn:
        session.execute(text("DELETE FROM secrets"))
        raise error

    app = make_app(Made("clumsy", yoq_record_operation=record))
    api = Api(app)
    assert set_secret(api) == 200
    assert api("GET", "/v1/secrets").json == ["db"]
    assert [entry["action"] for entry in api.entries()] == ["secret_list", "secret_set"]
    assert current_metrics(app).registry.get_sample_value("yoq_audit_failures_total") == 2


def listeners(hook: str, error: BaseException | None) -> tuple[list[Made], list[str]]:
    """Three plugins that are told by `hook`, the one in the middle raising; and whom it reached."""
    reached: list[str] = []

    def listener(name: str) -> Made:
        def tell(event: Event) -> None:
            reached.append(name)
            if name == "b" and error:
                raise error

        return Made(name, **{hook: tell})

    return [listener(name) for name in "abc"], reached


def test_yoq_operation_committed_tells_everybody(make_app: MakeApp) -> None:
    """Each plugin is told once of an operation that ended well, and of no other."""
    plugins, reached = listeners("yoq_operation_committed", None)
    app = make_app(*plugins)
    assert set_secret(Api(app)) == 200
    assert Api(app)("DELETE", "/v1/secrets/none").status_code == 404
    told(app)
    assert sorted(reached) == ["a", "b", "c"]


@wrong
def test_yoq_operation_committed_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The others are told, the answer is as it was, and the next operation is told to it again."""
    plugins, reached = listeners("yoq_operation_committed", error)
    app = make_app(*plugins)
    assert [set_secret(Api(app)), set_secret(Api(app))] == [200, 200]
    told(app)
    assert sorted(reached) == ["a", "a", "b", "b", "c", "c"]
    labels = {"plugin": "b", "hook": "yoq_operation_committed"}
    assert current_metrics(app).registry.get_sample_value("yoq_hook_failures_total", labels) == 2


def test_yoq_operation_failed_tells_the_error(make_app: MakeApp) -> None:
    """A plugin is told of a failure with what was raised."""
    errors: list[BaseException] = []

    def fail(event: Event, error: BaseException) -> None:
        errors.append(error)

    app = make_app(Made("nurse", yoq_operation_failed=fail))
    Api(app)("POST", "/v1/tokens", json={"name": "local", "scopes": ["*"]})
    told(app)
    assert [str(error) for error in errors] == ["the name is reserved"]


@wrong
def test_yoq_operation_failed_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The others are told, and the answer is as it was."""
    plugins, reached = listeners("yoq_operation_failed", error)
    app = make_app(*plugins)
    answer = Api(app)("POST", "/v1/tokens", json={"name": "local", "scopes": ["*"]})
    assert answer.status_code == 409
    told(app)
    assert sorted(reached) == ["a", "b", "c"]
