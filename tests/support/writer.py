"""A process that performs operations through the door and says on standard output which were acknowledged.

`python -m tests.writer PREFIX COUNT`: sets COUNT secrets, PREFIX0, PREFIX1, …, and adds one to the counter for each.
"""

from __future__ import annotations

import sys

from sqlalchemy import text

from yoq_web import Contribution, Operation, create_app, hookimpl
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.secrets.operations import set_secret

COUNTER = ("CREATE TABLE counter (value INTEGER NOT NULL)", "INSERT INTO counter VALUES (0)")
"""The counter's table; the tests make it behind the application's back."""

counting_add = Operation("counting_add", "Add one", "counting:write")


class Counting:
    """A plugin that brings the operation."""

    name = "counting"

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Bring the operation."""
        return Contribution(operations=(counting_add,))


def add_one(target: str) -> None:
    """Read the counter, add one, write it back: two of these at once must not lose one."""
    with counting_add.performed(target) as session:
        lock = "" if session.get_bind().dialect.name == "sqlite" else " FOR UPDATE"
        value = session.scalar(text(f"SELECT value FROM counter{lock}"))
        session.execute(text("UPDATE counter SET value = :value"), {"value": (value or 0) + 1})


def main(prefix: str, count: int) -> None:
    """Write until done, or killed."""
    app = create_app(plugins=[Counting()])
    with app.app_context():
        set_actor(make_local_actor())
        for number in range(count):
            name = f"{prefix}{number}"
            set_secret(name, "hunter2")
            add_one(name)
            print(name, flush=True)  # noqa: T201 - the acknowledgement


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
