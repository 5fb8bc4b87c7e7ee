"""Performance: an operation under way, of which its block may say more than was known when it began."""

from __future__ import annotations

from yoq_web.actors import SYSTEM
from yoq_web.app_local import ContextLocal
from yoq_web.operations.details import Detail
from yoq_web.operations.event import Event, make_event
from yoq_web.operations.operation import Operation


class Performance:
    """An operation under way. `event` is its event, without an outcome yet."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.failure: str | None = None
        self.sequels: tuple[Event, ...] = ()

    def add(self, **details: Detail) -> None:
        """Do what add_details() does, for this operation."""
        self.event = self.event.add(details)

    def end(self) -> Event:
        """Return the event of an operation whose block came to its end."""
        return self.event.end("ok") if self.failure is None else self.event.end("failed", self.failure)


current_performance: ContextLocal[Performance | None] = ContextLocal("performance", None)
"""The operation that the request or command performs right now: operations do not nest."""


def add_details(**details: Detail) -> None:
    """Add to the record of the operation under way what is known only inside its block: what was there before, say.

    They are recorded whichever way the operation ends. Raises TypeError for a detail that it does not declare, and
    RuntimeError where none is under way.
    """
    _find_performance().add(**details)


def mark_failed(reason: str) -> None:
    """Have the operation under way recorded as `failed`, although what it changed is committed: so it was to be tried.

    A plugin is told of it as of any that was committed; the event's outcome says how it ended.
    """
    _find_performance().failure = reason


def add_sequel(operation: Operation, target: str | None, failure: str | None = None, **details: Detail) -> None:
    """Record what followed from the operation under way at once and by itself, in the same transaction, after it.

    It is the system's deed and nobody's to veto; `failure` is the reason if it is one. Raises RuntimeError inside an
    external operation, which has no transaction.
    """
    performance = _find_performance()
    if performance.event.operation.external or operation.external:
        raise RuntimeError("nothing follows in the transaction of an external operation: it has none")
    event = make_event(operation, target, details, SYSTEM)
    performance.sequels += (event.end("ok") if failure is None else event.end("failed", failure),)


def _find_performance() -> Performance:
    performance = current_performance()
    if performance is None:
        raise RuntimeError("no operation is under way: this is called inside the block of one")
    return performance
