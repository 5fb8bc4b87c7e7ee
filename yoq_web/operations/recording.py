"""Recording: what becomes of an event, and what is done if a recorder cannot store it.

The failure policy: the event goes to the spool and the operation goes on, or with `refuse` nothing is changed.
"""

from __future__ import annotations

from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.database.session import db, unit_of_work
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.metrics import current_metrics
from yoq_web.operations.event import Event
from yoq_web.operations.recorders import Failures, current_outages, list_recorders, record
from yoq_web.operations.replay import current_replayer
from yoq_web.operations.spool import current_spool
from yoq_web.operations.spool_format import Resolution
from yoq_web.problems import Problem
from yoq_web.settings import current_settings

log = get_logger("yoq_web")


class NotRecorded(Problem):
    """The operation could not be recorded and must not go through unrecorded: nothing was changed (503)."""

    def __init__(self) -> None:
        super().__init__(503, "the operation could not be recorded", "so nothing was changed; try again later")


def must_refuse(event: Event) -> bool:
    """Tell whether what cannot be recorded must not be done."""
    return "refuse" in (event.operation.audit_failure, current_settings().audit_failure)


def record_change(event: Event, session: Session, *, may_refuse: bool = True) -> bool:
    """Record `event` together with the change that it is about; what cannot be stored is prepared in the spool.

    Returns whether the spool waits for resolve(). Raises NotRecorded if the policy is to refuse, and it may.
    """
    failed = record(event, session)
    if not failed:
        return False
    _count_failures(event, failed)
    if may_refuse and must_refuse(event):
        current_metrics().audit_refused.inc()
        raise NotRecorded
    try:
        # Before the commit, so that no crash after it loses the event.
        current_spool().prepare(event.to_document(), _list_names(failed))
    except OSError as error:
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

    Raises NotRecorded if the policy is to refuse.
    """
    keep_intent(event, record(event, session))


def keep_intent(event: Event, failed: Failures) -> None:
    """Do by the policy with an intent that these recorders could not store. Raises NotRecorded."""
    if failed and must_refuse(event):
        _count_failures(event, failed)
        current_metrics().audit_refused.inc()
        raise NotRecorded
    _put_into_spool(event, failed)


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


def _put_into_spool(event: Event, failed: Failures) -> bool:
    """Put an event into the spool for these recorders; returns whether it is on disk."""
    if not failed:
        return True
    _count_failures(event, failed)
    current_metrics().audit_spooled.inc()
    try:
        current_spool().keep(event.to_document(), _list_names(failed))
    except OSError as error:
        _log_as_last_resort(event, error)
        return False
    return True


def note_success() -> None:
    """Note that an event is stored and committed: so may be what waits in the spool."""
    current_metrics().audit_recorded.inc()
    if current_spool().due:
        current_replayer()()


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
                error=type(error).__name__,
            )


def _log_as_last_resort(event: Event, error: OSError) -> None:
    """Log an event that neither the database nor the disk takes: the log is the last place to keep it."""
    current_metrics().spool_failures.inc()
    log.critical("an operation is recorded nowhere but here", record=event.to_document(), error=str(error))
