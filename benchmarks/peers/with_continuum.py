"""SQLAlchemy-Continuum: change a row, and the library stores its version in the same transaction."""

from __future__ import annotations

import hmac
import os
import time
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Flask, abort, request
from sqlalchemy import event
from sqlalchemy.orm import Session, configure_mappers, declarative_base
from sqlalchemy_continuum import make_versioned

make_versioned(user_cls=None)
Base: Any = declarative_base()
NAMES = 80


class Value(Base):
    """A value by name."""

    __tablename__ = "peer_values"
    __versioned__: ClassVar[dict[str, Any]] = {}

    name = sa.Column(sa.String, primary_key=True)
    text = sa.Column(sa.String, nullable=False)
    updated_at = sa.Column(sa.BigInteger, nullable=False)


def prepare(connection: Any, _record: object) -> None:
    """The same rules as ours."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=8000"):
        connection.execute(f"PRAGMA {pragma}")


configure_mappers()
engine = sa.create_engine(f"sqlite:///{os.environ['PEER_DATABASE']}", connect_args={"timeout": 15})
event.listen(engine, "connect", prepare)
event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
Base.metadata.create_all(engine)
with Session(engine) as filling:
    filling.add_all([Value(name=f"n{number}", text="", updated_at=0) for number in range(NAMES)])
    filling.commit()
engine.dispose()
application = Flask(__name__)


@application.post("/set")
def set_value() -> dict[str, str]:
    """Change a value, if the request has the token."""
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given, f"Bearer {os.environ['PEER_TOKEN']}"):
        abort(401)
    body = request.get_json()
    with Session(engine) as session:
        value: Any = session.get(Value, body["name"])
        value.text, value.updated_at = body["text"], int(time.time())
        session.commit()
    return {"status": "ok"}
