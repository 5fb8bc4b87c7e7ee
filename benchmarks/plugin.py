"""A plugin for measuring: the same write once through the door and once with nothing but a unit of work."""

from __future__ import annotations

import time

from flask import Blueprint
from pydantic import BaseModel
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web import Contribution, Model, Operation, Status, endpoint, hookimpl
from yoq_web.database.session import unit_of_work, upsert

name = "bench"
bench_set = Operation("bench_set", "Set a value", "bench:write")
routes = Blueprint("bench", __name__)


class Value(Model):
    """A value by name, written as a secret is but without encryption."""

    __tablename__ = "bench_values"

    name: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    updated_at: Mapped[int]


class ValueIn(BaseModel):
    """A value to set."""

    name: str
    text: str


def row(body: ValueIn) -> dict[str, object]:
    """The row to write."""
    return {"name": body.name, "text": body.text, "updated_at": int(time.time())}


@routes.post("/v1/bench/audited")
@endpoint(bench_set, body=ValueIn)
def set_audited(body: ValueIn) -> Status:
    """Set a value through the door."""
    with bench_set.performed(body.name) as session:
        session.execute(upsert(Value, key=("name",), update=("text", "updated_at")), row(body))
    return Status(status="ok")


@routes.post("/v1/bench/plain")
@endpoint(scope="bench:write", body=ValueIn, unaudited="it is the measure for the other route")
def set_plain(body: ValueIn) -> Status:
    """Set a value without the door."""
    with unit_of_work() as session:
        session.execute(upsert(Value, key=("name",), update=("text", "updated_at")), row(body))
    return Status(status="ok")


@hookimpl
def yoq_contribute() -> Contribution:
    """Add the two routes."""
    return Contribution(operations=(bench_set,), blueprints=(routes,))
