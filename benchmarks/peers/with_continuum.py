"""SQLAlchemy-Continuum: change a row; the library stores its version in the same transaction. Reads how often."""

from __future__ import annotations

import sys
import time
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, configure_mappers, declarative_base
from sqlalchemy_continuum import make_versioned

make_versioned(user_cls=None)
Base: Any = declarative_base()


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


def write(session: Session, count: int) -> float:
    """The seconds that so many audited changes take."""
    started = time.perf_counter()
    for number in range(count):
        value: Any = session.get(Value, f"peer-{number % 20}")
        value.text = f"a value of some length {number} {started}"
        value.updated_at = int(time.time())
        session.commit()
    return time.perf_counter() - started


def main() -> None:
    """Make the tables; then write as often as each line of standard input says."""
    configure_mappers()
    engine = sa.create_engine(f"sqlite:///{sys.argv[1]}")
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Value(name=f"peer-{number}", text="", updated_at=0) for number in range(20)])
        session.commit()
        versions = sa.text("SELECT count(*) FROM peer_values_version")
        for line in sys.stdin:
            before = session.execute(versions).scalar() or 0
            session.commit()
            seconds = write(session, int(line))
            if (session.execute(versions).scalar() or 0) - before != int(line):
                raise SystemExit("not every change was recorded")
            session.commit()
            print(seconds, flush=True)


main()
