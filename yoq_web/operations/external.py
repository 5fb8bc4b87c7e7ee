"""External operations: their effect is outside the database, so its record cannot be committed with it.

An intent, the event with the outcome `started`, is committed before the effect; the outcome follows with the same event
id. What a crash leaves open is closed as `interrupted` by sweep().
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.database.session import db, unit_of_work
from yoq_web.hooks.errors import Veto
from yoq_web.hooks.host import current_host
from yoq_web.operations import failure_policy
from yoq_web.operations.details import Detail
from yoq_web.operations.door import (
    begin_operation,
    conclude,
    make_reason,
    record_failure,
    translate_veto,
)
from yoq_web.operations.event import Event, Outcome
from yoq_web.operations.failure_policy import NotRecorded, OutcomeNotRecorded
from yoq_web.operations.intents import Intent, current_intents
from yoq_web.operations.operation import Operation, current_operations
from yoq_web.operations.performance import Performance, current_performance
from yoq_web.operations.recorders import list_recorders
from yoq_web.operations.spool import current_spool
from yoq_web.operations.veto import ask_before, ask_inside
from yoq_web.problems import Denied

log = get_logger("yoq_web")

INTERRUPTED = "the process that performed it ended"


class Interrupted(Exception):
    """What plugins are told of an external operation that a crash left open."""


class Undertaking(Performance):
    """What the block of an external operation is given. `event` is its event, without an outcome yet."""

    def __init__(self, event: Event) -> None:
        super().__init__(event)
        self._changes: list[Callable[[Session], object]] = []
        self._recorded = self._spooled = False

    def at_the_end(self, change: Callable[[Session], object]) -> None:
        """Have `change` called with the session in the transaction that records the outcome, if the block succeeds.

        If it raises, or the commit fails, the operation has failed, although its effect took place.
        """
        self._changes.append(change)

    def succeed(self) -> tuple[Event, bool]:
        """Record that the block succeeded, with the changes that it left; returns the event and whether it is kept."""
        event = self.end()
        if not self._changes:
            self._recorded = True
            return event, failure_policy.record_alone(event)
        db.session.rollback()
        with unit_of_work() as session:
            for change in self._changes:
                change(session)
            session.flush()
            self._spooled = failure_policy.record_change(event, session, took_effect=True)
            self._recorded = True
        if not self._spooled:
            failure_policy.note_success()
            return event, True
        failure_policy.resolve(event, "committed")
        return event, not current_spool().holds(event.id)

    def fail(self, error: BaseException) -> bool:
        """Record that it did not succeed; returns whether that is kept."""
        outcome: Outcome = "denied" if isinstance(error, Denied) else "failed"
        answer_lost = self._spooled and isinstance(error, OperationalError)
        if self._recorded and (answer_lost or not isinstance(error, Exception)):
            outcome = "interrupted"  # nobody knows whether the outcome, and the change with it, was committed
        event = self.event.end(outcome, make_reason(error), doubtful=self._recorded)
        kept = record_failure(event, error)
        if self._spooled:
            failure_policy.resolve(event, "rolled back")
        return kept


@contextmanager
def undertake(operation: Operation, target: str | None, details: Mapping[str, Detail]) -> Iterator[Undertaking]:
    """Do what Operation.undertaken() promises."""
    if not operation.external:
        raise RuntimeError(f"{operation.name} is not external: it is performed(), not undertaken()")
    undertaking = Undertaking(begin_operation(operation, target, details))
    current_performance.put(undertaking)
    intent: Intent | None = None
    begun = False
    try:
        ask_before(undertaking.event)
        intent = _write_intent(undertaking.event)
        _record_intent(undertaking.event)
        begun = True
        yield undertaking
        event, kept = undertaking.succeed()
    except Veto as veto:
        error = translate_veto(undertaking.event, veto)
        _close_intent(intent, settled=undertaking.fail(error) or not begun)
        raise error from veto
    except BaseException as error:
        _close_intent(intent, settled=undertaking.fail(error) or not begun)
        raise
    finally:
        current_performance.put(None)
    _close_intent(intent, settled=kept)
    conclude(event)
    current_host().notify("yoq_operation_committed", event=event)
    if not kept and failure_policy.choose_policy(event) != "continue":
        raise OutcomeNotRecorded(event)


def sweep() -> None:
    """Close as `interrupted` what processes left open that are gone; what is under way is left alone."""
    for intent, document in current_intents().claim_abandoned():
        try:
            event = Event.from_document(document, current_operations())
        except (ValueError, TypeError, KeyError, AttributeError):
            intent.set_aside()
            continue
        log.warning("an operation was interrupted", audit_id=event.id, action=event.operation.name)
        # It may have ended just before the crash.
        event = event.end("interrupted", INTERRUPTED, doubtful=True).note_late()
        if record_failure(event, Interrupted(INTERRUPTED)):
            intent.remove()


def _write_intent(event: Event) -> Intent | None:
    """Have the intent on this machine's disk, so that a crash does not leave it open for ever."""
    try:
        return current_intents().create(event.end("started").to_document())
    except OSError as error:
        if failure_policy.choose_policy(event) == "refuse":
            raise NotRecorded from error
        log.error("after a crash this would stay open", audit_id=event.id, error=str(error))  # noqa: TRY400 - it says all
        return None


def _record_intent(event: Event) -> None:
    """Let plugins veto and the recorders store the intent, in one transaction; what they cannot store is spooled.

    Without a database the effect may take place all the same: a restore is for such days.
    """
    asked = False
    started = event.end("started")
    try:
        with unit_of_work() as session:
            ask_inside(event, session)
            asked = True
            failure_policy.record_intent(started, session)
    except SQLAlchemyError as error:
        if not asked:
            ask_inside(event, db.session())
        failure_policy.keep_intent(started, [(recorder, error) for recorder in list_recorders()])


def _close_intent(intent: Intent | None, *, settled: bool) -> None:
    """Forget the intent. If its outcome is on no disk it stays, locked until this process ends: the next one sweeps."""
    if intent is not None and settled:
        intent.remove()
        intent.release()
