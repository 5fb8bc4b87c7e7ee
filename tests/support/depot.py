"""A plugin with an external operation, and a process that performs one: `python -m tests.support.depot TARGET`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Blueprint

from yoq_web import Contribution, Event, Operation, Status, create_app, dumps, endpoint, hookimpl
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.operations.mac import INTENT, INTENTS, MacKey

depot_push = Operation("depot_push", "Push to a depot", "depot:write", details=("note", "size"), external=True)
depot_strict = Operation("depot_strict", "Push or refuse", "depot:write", audit_failure="refuse", external=True)


def nothing() -> None:
    """Have no effect."""


class Depot:
    """Brings the operations and a route; `effect` is what pushing does. Keeps what it is told of."""

    name = "depot"

    def __init__(self, effect: Callable[[], object] = nothing) -> None:
        self.effect = effect
        self.veto: Exception | None = None
        self.recorded: list[str | None] = []
        self.committed: list[Event] = []
        self.failed: list[Event] = []

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Bring the operations and the route."""
        blueprint = Blueprint("depot", __name__)

        @blueprint.post("/v1/depot/<name>")
        @endpoint(depot_push)
        def push(name: str) -> Status:
            """Push to a depot."""
            with depot_push.undertaken(name, note="by hand") as undertaking:
                self.effect()
                undertaking.add(size=3)
            return Status(status="pushed")

        return Contribution(operations=(depot_push, depot_strict), blueprints=(blueprint,))

    @hookimpl
    def yoq_before_operation(self) -> None:
        """Refuse if told to."""
        if self.veto:
            raise self.veto

    @hookimpl
    def yoq_record_operation(self, event: Event) -> None:
        """Keep the outcome."""
        self.recorded.append(event.outcome)

    @hookimpl
    def yoq_operation_committed(self, event: Event) -> None:
        """Keep the event."""
        self.committed.append(event)

    @hookimpl
    def yoq_operation_failed(self, event: Event) -> None:
        """Keep the event."""
        self.failed.append(event)


def leave_intent(data_dir: Path, document: dict[str, Any]) -> None:
    """Leave the intent of this event as a process does that is killed."""
    key = MacKey.read(data_dir)
    assert key
    plain = {name: value for name, value in document.items() if name != "mac"}
    (data_dir / INTENTS / f"{document['id']}.json").write_text(key.sign(INTENT, dumps(plain)))


def main(target: str) -> None:
    """Begin, say so with the event's id, and end when told to or killed."""
    app = create_app(plugins=[Depot()])
    with app.app_context():
        set_actor(make_local_actor())
        with depot_push.undertaken(target) as undertaking:
            print(undertaking.event.id, flush=True)  # noqa: T201 - who started the process waits for it
            with suppress(KeyboardInterrupt):
                sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
