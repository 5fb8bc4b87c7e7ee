"""The recorders: plugins that store events, each called in a savepoint of the operation's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import NoReturn, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from yoq_web.app_local import AppLocal
from yoq_web.database.session import forbid_endings
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import Implementation, current_host
from yoq_web.operations.event import Event

Failures = Sequence[tuple[Implementation, BaseException]]
"""The recorders that could not store an event, and why."""


current_outages: AppLocal[set[str]] = AppLocal("outages", lambda _app: set())
"""The plugins that failed to record and have not recovered; `""` for the spool's own replay."""


class RecorderSession(Session):
    """The session a recorder gets: on the operation's own connection, but without power over its transaction."""

    def __init__(self, connection: Connection) -> None:
        # A failing flush rolls its session's transaction back: with create_savepoint that undoes the recorder's
        # work, not the change.
        super().__init__(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)

    def connection(self, *_arguments: object, **_options: object) -> Connection:
        """Return the operation's connection, under the door's savepoint: what runs on it needs no second one."""
        return cast("Connection", self.bind)

    def commit(self) -> NoReturn:
        """Refuse: record and change are committed together, by the door."""
        raise RuntimeError("a recorder may not commit: the door does, together with the change")

    def rollback(self) -> NoReturn:
        """Refuse: raise an exception instead, and the door undoes the recorder's work."""
        raise RuntimeError("a recorder may not roll back: raise an exception, and the door undoes its work")


def list_recorders() -> tuple[Implementation, ...]:
    """List those who store events."""
    return current_host().find_implementations("yoq_record_operation")


def record(event: Event, session: Session, by: Sequence[Implementation] | None = None) -> Failures:
    """Let every recorder, or those given, store `event` in the session's transaction; returns those that failed.

    Raises what SQLAlchemy raises if the transaction itself is lost.
    """
    connection = session.connection()
    driver_error = connection.dialect.loaded_dbapi.Error
    try:
        with forbid_endings(connection):
            return _record(event, session, connection, list_recorders() if by is None else by)
    except driver_error as error:
        # Like an error of any other statement: a lost database is answered 503.
        raise DBAPIError.instance(
            None, None, error, driver_error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _record(event: Event, session: Session, connection: Connection, by: Sequence[Implementation]) -> Failures:
    failed: list[tuple[Implementation, BaseException]] = []
    # Savepoints through the driver: Session.begin_nested() costs a quarter of the throughput of an audited write.
    with closing(connection.connection.cursor()) as driver:
        for recorder in by:
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
                failed.append((recorder, error))
    return failed
