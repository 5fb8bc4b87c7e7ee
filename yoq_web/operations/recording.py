"""Handing an event to the recorders, each in a savepoint, and what becomes of one that a recorder cannot store.

The failure policy: the event goes to the spool and the operation goes on, or with `refuse` nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.database.session import db, unit_of_work, without_endings
from yoq_web.hooks.host import Implementation
from yoq_web.hooks.notifier import HOOK_ERRORS
from yoq_web.problems import Problem
from yoq_web.state import state

if TYPE_CHECKING:
    from yoq_web.operations.door import Event
    from yoq_web.operations.spool import Settlement

log = get_logger("yoq_web")

Failures = Sequence[tuple[Implementation, BaseException]]
"""The recorders that could not store an event, and why."""


class NotRecorded(Problem):
    """The operation could not be recorded and must not go through unrecorded: nothing was changed (503)."""

    def __init__(self) -> None:
        super().__init__(503, "the operation could not be recorded", "so nothing was changed; try again later")


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


def recorders() -> tuple[Implementation, ...]:
    """Everybody who stores events."""
    return state().plugins.implementations("yoq_record_operation")


def record(event: Event, session: Session, by: Sequence[Implementation] | None = None) -> Failures:
    """Let every recorder, or those given, store `event` in the session's transaction; returns those that failed.

    Raises what SQLAlchemy raises if the transaction itself is lost.
    """
    connection = session.connection()
    driver_error = connection.dialect.loaded_dbapi.Error
    try:
        with without_endings(connection):
            return _record(event, session, connection, recorders() if by is None else by)
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


def refusing(event: Event) -> bool:
    """Whether what cannot be recorded must not be done."""
    return "refuse" in (event.operation.audit_failure, state().settings.audit_failure)


def record_change(event: Event, session: Session, *, may_refuse: bool = True) -> bool:
    """Record `event` together with the change that it is about; what cannot be stored is prepared in the spool.

    Returns whether the spool waits for settle(). Raises NotRecorded if the policy is to refuse, and it may.
    """
    failed = record(event, session)
    if not failed:
        return False
    _count(event, failed)
    if may_refuse and refusing(event):
        state().metrics.audit_refused.inc()
        raise NotRecorded
    try:
        # Before the commit, so that no crash after it loses the event.
        state().spool.prepare(event.document(), _names(failed))
    except OSError as error:
        _nowhere(event, error)
    return True


def settle(event: Event, settlement: Settlement) -> None:
    """Tell the spool how the change of a prepared event ended."""
    if settlement == "committed":
        state().metrics.audit_spooled.inc()
    try:
        state().spool.settle(event.id, settlement)
    except OSError as error:
        if settlement == "committed":
            _nowhere(event, error)


def record_intent(event: Event, session: Session) -> None:
    """Record that an external operation begins; what cannot be stored is in the spool before its effect takes place.

    Raises NotRecorded if the policy is to refuse.
    """
    keep_intent(event, record(event, session))


def keep_intent(event: Event, failed: Failures) -> None:
    """Do by the policy with an intent that these recorders could not store. Raises NotRecorded."""
    if failed and refusing(event):
        _count(event, failed)
        state().metrics.audit_refused.inc()
        raise NotRecorded
    _keep(event, failed)


def record_alone(event: Event, *, reachable: bool = True) -> bool:
    """Record an event that has no change to share a transaction with: a denial, a failure, an external outcome.

    `reachable` says whether to try the database at all: whoever just waited for it in vain need not wait again.
    Returns whether it is stored or on disk.
    """
    failed: Failures = ()
    if reachable:
        try:
            db.session.rollback()
            with unit_of_work() as session:
                failed = record(event, session)
        except HOOK_ERRORS as error:
            failed = [(recorder, error) for recorder in recorders()]
    else:
        failed = [(recorder, ConnectionError()) for recorder in recorders()]
    if not failed:
        recorded()
    return _keep(event, failed)


def _keep(event: Event, failed: Failures) -> bool:
    """Put an event into the spool for these recorders; returns whether it is on disk."""
    if not failed:
        return True
    _count(event, failed)
    state().metrics.audit_spooled.inc()
    try:
        state().spool.keep(event.document(), _names(failed))
    except OSError as error:
        _nowhere(event, error)
        return False
    return True


def recorded() -> None:
    """An event is stored and committed: so may be what waits in the spool."""
    here = state()
    here.metrics.audit_recorded.inc()
    if here.spool.due:
        here.recover()


def _names(failed: Failures) -> list[str]:
    return [recorder.plugin for recorder, _ in failed]


def _count(event: Event, failed: Failures) -> None:
    """Count every failure; log the first of an outage."""
    here = state()
    for recorder, error in failed:
        here.metrics.audit_failures.inc()
        if recorder.plugin not in here.outages:
            here.outages.add(recorder.plugin)
            log.error(
                "an operation could not be recorded",
                audit_id=event.id,
                action=event.operation.name,
                outcome=event.outcome,
                plugin=recorder.plugin,
                error=type(error).__name__,
            )


def _nowhere(event: Event, error: OSError) -> None:
    """Neither the database nor the disk takes the event: the log is the last place to keep it."""
    state().metrics.spool_failures.inc()
    log.critical("an operation is recorded nowhere but here", record=event.document(), error=str(error))
