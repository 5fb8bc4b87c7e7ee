"""Handing an event to the recorders, each in a savepoint: one that fails takes neither change nor record away."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NoReturn, cast

from sqlalchemy import Connection
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.database import db, unit_of_work, without_endings
from yoq_web.notifying import HOOK_ERRORS
from yoq_web.plugins import Implementation
from yoq_web.state import state

if TYPE_CHECKING:
    from yoq_web.operations import Event

log = get_logger("yoq_web")


class RecorderSession(Session):
    """The session a recorder gets: on the operation's own connection, but without power over its transaction."""

    def __init__(self, connection: Connection) -> None:
        # A failing flush rolls its session's transaction back: with create_savepoint that undoes the recorder's
        # work, not the change.
        super().__init__(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)

    def connection(self, *_arguments: object, **_options: object) -> Connection:
        """The operation's connection, under the door's savepoint: what is executed on it needs no second one."""
        return cast("Connection", self.bind)

    def commit(self) -> NoReturn:
        """Refuse: record and change are committed together, by the door."""
        raise RuntimeError("a recorder may not commit: the door does, together with the change")

    def rollback(self) -> NoReturn:
        """Refuse: raise an exception instead, and the door undoes the recorder's work."""
        raise RuntimeError("a recorder may not roll back: raise an exception, and the door undoes its work")


def record(event: Event, session: Session) -> None:
    """Let every recorder store `event` in the session's transaction. One that fails is logged and counted."""
    connection = session.connection()
    # Savepoints through the driver: Session.begin_nested() costs a quarter of the throughput of an audited write.
    with without_endings(connection), closing(connection.connection.cursor()) as driver:
        for recorder in state().plugins.implementations("yoq_record_operation"):
            driver.execute("SAVEPOINT yoq_record")
            inner = RecorderSession(connection)
            try:
                recorder(event=event, session=inner)
                if inner.in_transaction():
                    Session.commit(inner)
                if session.new or session.dirty or session.deleted:
                    raise RuntimeError("a recorder changed the operation's session instead of the one it was given")
                # Fails if the recorder passed over an error of the database, or ended the savepoint itself.
                driver.execute("RELEASE SAVEPOINT yoq_record")
            except HOOK_ERRORS as error:
                inner.close()
                for changed in (*session.new, *session.dirty, *session.deleted):
                    session.expunge(changed)
                driver.execute("ROLLBACK TO SAVEPOINT yoq_record")
                driver.execute("RELEASE SAVEPOINT yoq_record")
                not_recorded(event, error, recorder)


def record_alone(event: Event) -> None:
    """Record an event that has no change to share a transaction with: a denial or a failure."""
    db.session.rollback()
    try:
        with unit_of_work() as session:
            record(event, session)
    except HOOK_ERRORS as error:
        not_recorded(event, error)


def not_recorded(event: Event, error: BaseException, recorder: Implementation | None = None) -> None:
    """An event could not be stored; the operation goes on. The durable spool takes it from here once there is one."""
    state().metrics.audit_failures.inc()
    log.error(
        "an operation could not be recorded",
        audit_id=event.id,
        action=event.operation.name,
        outcome=event.outcome,
        plugin=recorder.plugin if recorder else None,
        error=type(error).__name__,
    )
