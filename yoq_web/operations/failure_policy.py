"""The failure policy: what becomes of an event, and what is done if a recorder cannot store it.

The event goes to the spool and the operation goes on. Where the disk takes it neither, or with
`refuse`, nothing is changed; with `continue` it is held in memory, and in a critical line of the log.
"""

from __future__ import annotations

from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.database.session import db, unit_of_work
from yoq_web.hooks.errors import HOOK_ERRORS, find_raised
from yoq_web.metrics import current_metrics
from yoq_web.operations.event import Event
from yoq_web.operations.recorders import Failures, current_outages, list_recorders, record
from yoq_web.operations.replay import current_replayer
from yoq_web.operations.spool import current_spool
from yoq_web.operations.spool_format import Resolution
from yoq_web.problems import Problem
from yoq_web.settings import AuditFailure, current_settings

log = get_logger("yoq_web")


class NotRecorded(Problem):
    """The operation could not be recorded and must not go through unrecorded: nothing was changed (503)."""

    def __init__(self) -> None:
        super().__init__(503, "the operation could not be recorded", "so nothing was changed; try again later")


class OutcomeNotRecorded(Problem):
    """An external operation took place, and neither the database nor the disk takes its outcome (503)."""

    def __init__(self, event: Event) -> None:
        said = f"its effect took place; the trail has it as begun, under the id {event.id}"
        super().__init__(503, "the outcome could not be recorded", said)


def choose_policy(event: Event) -> AuditFailure:
    """Choose what to do when the event cannot be recorded."""
    return event.operation.audit_failure or current_settings().audit_failure


def record_change(event: Event, session: Session, *, took_effect: bool = False) -> bool:
    """Record `event` together with the change that it is about; what cannot be stored is prepared in the spool.

    Returns whether the spool waits for resolve(). Raises NotRecorded if the policy is to refuse; where an external
    operation `took_effect` already, OutcomeNotRecorded if the disk does not take its outcome.
    """
    failed = record(event, session)
    if not failed:
        return False
    _count_failures(event, failed)
    policy = choose_policy(event)
    if policy == "refuse" and not took_effect:
        raise _refuse()
    try:
        # Before the commit, so that no crash after it loses the event.
        current_spool().prepare(event.to_document(), _list_names(failed))
    except OSError as error:
        if policy != "continue":
            current_metrics().spool_failures.inc()
            raise OutcomeNotRecorded(event) if took_effect else _refuse() from error
        current_spool().hold(event.to_document(), _list_names(failed), prepared=True)
        _log_as_last_resort(event, error)
    return True


def resolve(event: Event, resolution: Resolution) -> None:
    """Tell the spool how the change of a prepared event ended."""
    if resolution == "committed":
        current_metrics().audit_spooled.inc()
    try:
        current_spool().resolve(event.id, resolution)
    except OSError as error:
        if resolution == "committed":
            _log_as_last_resort(event, error)


def record_intent(event: Event, session: Session) -> None:
    """Record that an external operation begins; what cannot be stored is in the spool before its effect takes place.

    Raises NotRecorded as keep_intent() does.
    """
    keep_intent(event, record(event, session))


def keep_intent(event: Event, failed: Failures) -> None:
    """Do by the policy with an intent that these recorders could not store.

    Raises NotRecorded if that is to refuse, or if the disk does not take it either.
    """
    policy = choose_policy(event)
    if not failed:
        return
    if policy == "continue":
        _put_into_spool(event, failed)
        return
    _count_failures(event, failed)
    if policy == "refuse":
        raise _refuse()
    try:
        current_spool().keep(event.to_document(), _list_names(failed))
    except OSError as error:
        current_metrics().spool_failures.inc()
        raise _refuse() from error
    current_metrics().audit_spooled.inc()


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
            failed = [(recorder, error) for recorder in list_recorders()]
    else:
        failed = [(recorder, ConnectionError()) for recorder in list_recorders()]
    if not failed:
        note_success()
    return _put_into_spool(event, failed)


def keep_for_later(event: Event) -> None:
    """Keep an event in the spool whose database cannot be used now: it is stored as soon as somebody can use it."""
    recorders = [recorder.plugin for recorder in list_recorders()]
    try:
        current_spool().keep(event.to_document(), recorders)
    except OSError as error:
        _log_as_last_resort(event, error)


def _put_into_spool(event: Event, failed: Failures) -> bool:
    """Put an event into the spool for these recorders, or hold it in memory; returns whether it is on disk."""
    if not failed:
        return True
    _count_failures(event, failed)
    current_metrics().audit_spooled.inc()
    try:
        current_spool().keep(event.to_document(), _list_names(failed))
    except OSError as error:
        current_spool().hold(event.to_document(), _list_names(failed))
        _log_as_last_resort(event, error)
        return False
    return True


def note_success() -> None:
    """Note that an event is stored and committed: so may be what waits in the spool."""
    current_metrics().audit_recorded.inc()
    if current_spool().due:
        current_replayer()()


def _refuse() -> NotRecorded:
    current_metrics().audit_refused.inc()
    return NotRecorded()


def _list_names(failed: Failures) -> list[str]:
    return [recorder.plugin for recorder, _ in failed]


def _count_failures(event: Event, failed: Failures) -> None:
    """Count every failure; log the first of an outage."""
    outages = current_outages()
    for recorder, error in failed:
        current_metrics().audit_failures.inc()
        if recorder.plugin not in outages:
            outages.add(recorder.plugin)
            log.error(
                "an operation could not be recorded",
                audit_id=event.id,
                action=event.operation.name,
                outcome=event.outcome,
                plugin=recorder.plugin,
                error=type(find_raised(error)).__name__,
            )


def _log_as_last_resort(event: Event, error: OSError) -> None:
    """Log an event that neither the database nor the disk takes: the log is the last place to keep it."""
    current_metrics().spool_failures.inc()
    log.critical("an operation is recorded nowhere but here", record=event.to_document(), error=str(error))
