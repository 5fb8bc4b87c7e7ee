"""The hooks of one request are called in one order, and each sees the database as its moment promises."""

from __future__ import annotations

import pytest
from flask import Flask, Request
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.conftest import Api, MakeApp
from yoq_web import Actor, Contribution, Event, Veto, db, hookimpl
from yoq_web.hooks.host import current_host


class Witness:
    """A plugin that writes down what it is asked and told."""

    name = "witness"

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.veto = False

    @hookimpl
    def yoq_contribute(self, app: Flask) -> Contribution:
        """Add nothing."""
        self.seen.append(("contribute",))
        return Contribution()

    @hookimpl
    def yoq_ready(self, app: Flask) -> None:
        """Be ready."""
        self.seen.append(("ready",))

    @hookimpl
    def yoq_authenticate(self, request: Request) -> None:
        """Know nobody."""
        self.seen.append(("authenticate", request.path))

    @hookimpl
    def yoq_before_operation(self, event: Event) -> None:
        """Note what is about to happen, and what the database holds by then."""
        self.seen.append(("before", event.operation.name, str(event.outcome), self.tokens(db.session())))
        if self.veto:
            raise Veto("no")

    @hookimpl
    def yoq_record_operation(self, event: Event, session: Session) -> None:
        """Note how it ended, and what the transaction holds by then."""
        self.seen.append(("record", event.operation.name, str(event.outcome), self.tokens(session)))

    @hookimpl
    def yoq_operation_committed(self, event: Event) -> None:
        """Note what others see by now."""
        self.seen.append(("committed", event.operation.name, str(event.outcome), self.tokens(db.session())))

    @hookimpl
    def yoq_operation_failed(self, event: Event, error: BaseException) -> None:
        """Note what others see by now, and the error."""
        self.seen.append(("failed", event.operation.name, str(event.outcome), self.tokens(db.session())))

    @hookimpl
    def yoq_describe_actor(self, actor: Actor) -> None:
        """Know nobody."""
        self.seen.append(("describe", actor.label))

    def tokens(self, session: Session) -> str:
        """How many tokens a session sees."""
        return str(session.scalar(text("SELECT count(*) FROM tokens")))


def test_the_order_of_hooks_for_one_request(make_app: MakeApp) -> None:
    """Contribute and ready at start-up; then authenticate, before the change, record inside it, committed after it."""
    witness = Witness()
    app = make_app(witness)
    assert witness.seen == [("contribute",), ("ready",)]
    witness.seen.clear()
    assert Api(app)("POST", "/v1/tokens", json={"name": "ci", "scopes": ["*"]}).status_code == 201
    current_host(app).drain(10)
    assert witness.seen == [
        ("authenticate", "/v1/tokens"),
        ("before", "token_create", "None", "0"),
        ("record", "token_create", "ok", "1"),
        ("committed", "token_create", "ok", "1"),
    ]


@pytest.mark.parametrize(("veto", "outcome", "status"), [(False, "failed", 409), (True, "denied", 403)])
def test_the_order_of_hooks_when_it_fails(make_app: MakeApp, veto: bool, outcome: str, status: int) -> None:
    """Before, then the record of the failure without the change, then failed; a veto is the same."""
    witness = Witness()
    app = make_app(witness)
    name = "new" if veto else "local"  # a name that no token may bear
    witness.veto = veto
    witness.seen.clear()
    assert Api(app)("POST", "/v1/tokens", json={"name": name, "scopes": ["*"]}).status_code == status
    current_host(app).drain(10)
    assert witness.seen == [
        ("authenticate", "/v1/tokens"),
        ("before", "token_create", "None", "0"),
        ("record", "token_create", outcome, "0"),
        ("failed", "token_create", outcome, "0"),
    ]
