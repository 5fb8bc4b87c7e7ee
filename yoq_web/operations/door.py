"""The door: every sensitive action is authorized, performed, recorded and committed here, or recorded as failed.

The guard has looked at the scope before a route is called, to answer as yoq does; the door looks again, because
commands and plugins come without a guard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from yoq_web.database.session import unit_of_work
from yoq_web.hooks.errors import Veto, find_raised, read_text
from yoq_web.hooks.host import current_host
from yoq_web.metrics import current_metrics
from yoq_web.operations import failure_policy
from yoq_web.operations.details import DETAIL_BYTES, Detail, clean_text
from yoq_web.operations.event import Event, current_events, make_event
from yoq_web.operations.operation import Operation, current_operations
from yoq_web.operations.performance import Performance, current_performance
from yoq_web.operations.veto import ask_before, ask_inside
from yoq_web.problems import Denied, NotFound, Problem


@contextmanager
def perform(operation: Operation, target: str | None, details: Mapping[str, Detail]) -> Iterator[Session]:
    """Do what Operation.performed() promises."""
    if operation.external:
        raise RuntimeError(f"{operation.name} is external: it is undertaken(), not performed()")
    performance = Performance(begin_operation(operation, target, details))
    current_performance.put(performance)
    reached = recorded = False
    spooled: list[Event] = []
    try:
        ask_before(performance.event)
        with unit_of_work() as session:
            reached = True
            ask_inside(performance.event, session)
            yield session
            session.flush()
            ended = (performance.end(), *performance.sequels)
            for event in ended:
                if failure_policy.record_change(event, session):
                    spooled.append(event)  # noqa: PERF401 - those before one that raises count, too
            recorded = True
    except NotFound:
        raise
    except Veto as veto:
        error = translate_veto(performance.event, veto)
        record_failure(performance.event.end("denied", make_reason(error)), error)
        raise error from veto
    except Denied as error:
        record_failure(performance.event.end("denied", make_reason(error)), error)
        raise
    except BaseException as error:
        # With the record of a change that was about to commit went the knowledge whether it did.
        unknown = bool(spooled) and (isinstance(error, OperationalError) or not isinstance(error, Exception))
        record_failure(
            performance.event.end("interrupted" if unknown else "failed", make_reason(error), doubtful=recorded),
            error,
            reachable=reached or not isinstance(error, SQLAlchemyError),
        )
        for event in spooled:
            failure_policy.resolve(event, "rolled back")
        raise
    finally:
        current_performance.put(None)
    for event in ended:
        if event in spooled:
            failure_policy.resolve(event, "committed")
        else:
            failure_policy.note_success()
        conclude(event)
        current_host().notify("yoq_operation_committed", event=event)


def begin_operation(operation: Operation, target: str | None, details: Mapping[str, Detail]) -> Event:
    """Make an event that the current actor may begin now. Raises Denied if not, RuntimeError where none may begin."""
    # Else a label could be anybody's, and no token could be given the scope.
    known = current_operations().get(operation.name)
    if known is not operation and known != operation:
        raise RuntimeError(f"the operation {operation.name} is not contributed by anything in use")
    # Before anything is recorded: a denial's own transaction would wait for the outer one for ever.
    if outer := current_performance():
        raise RuntimeError(f"{operation.name} begins inside {outer.event.operation.name}: operations do not nest")
    event = make_event(operation, target, details)
    if not event.actor.allows(operation.scope):
        raise deny(event)
    return event


def deny(event: Event, scope: str | None = None) -> Denied:
    """Record that the actor of `event` lacks a scope, its operation's unless told; returns the error to raise."""
    error = Denied(detail=f"this needs the scope {scope or event.operation.scope}")
    record_failure(event.end("denied", f"needs the scope {scope or event.operation.scope}"), error)
    return error


def record_failure(event: Event, error: BaseException, *, reachable: bool = True) -> bool:
    """Record an event that did not succeed, in a transaction of its own, and tell the plugins.

    Returns whether it is stored or on disk.
    """
    kept = failure_policy.record_alone(event, reachable=reachable)
    conclude(event)
    current_host().notify("yoq_operation_failed", event=event, error=error)
    return kept


def conclude(event: Event) -> None:
    """Count the event, and remember it for the response's Audit-Id header."""
    current_metrics().operations.labels(event.operation.name, event.outcome).inc()
    current_events.put((*current_events(), event))


def translate_veto(event: Event, veto: Veto) -> Denied:
    """Translate a plugin's veto to what it is to the caller."""
    return Denied(clean_text(read_text(veto), DETAIL_BYTES, "", []) or f"{event.operation.name} was vetoed")


def make_reason(error: BaseException) -> str:
    """Return what the trail says of an error: a problem's own text, else its type, as messages may hold secrets."""
    return error.reason if isinstance(error, Problem) else type(find_raised(error)).__name__
