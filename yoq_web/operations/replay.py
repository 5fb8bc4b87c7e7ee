"""Replaying the spool: handing what the recorders could not store to them again, each event to those that lack it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from flask import current_app
from structlog.stdlib import get_logger

from yoq_web.app_local import AppLocal
from yoq_web.database.session import unit_of_work
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import Implementation, current_host
from yoq_web.jsontext import dumps
from yoq_web.metrics import current_metrics
from yoq_web.operations.event import Event
from yoq_web.operations.operation import current_operations
from yoq_web.operations.recorders import current_outages, list_recorders, record
from yoq_web.operations.spool import current_spool
from yoq_web.operations.spool_format import SpooledEvent, make_key

log = get_logger("yoq_web")

BATCH = 100
BATCH_SECONDS = 1.0
"""A transaction of a replay ends after so many events or seconds: other writers wait for it."""


def replay() -> None:
    """Replay what waits, as far as the recorders take it. Nothing is raised: the next time may be better."""
    current_spool().due = False
    current_spool().recover()
    if current_spool().empty:
        _end_outages(current_outages().copy(), {})
        return
    # A context of its own: the caller's session may hold what it still needs.
    with current_app.app_context():
        try:
            current_spool().replay(_store_waiting)
        except OSError as error:
            if "" not in current_outages():
                current_outages().add("")
                log.error("the spool cannot be replayed", error=str(error))  # noqa: TRY400 - its text says all
            current_spool().due = current_spool().held > 0


current_replayer: AppLocal[Callable[[], object]] = AppLocal("replayer", lambda _app: replay)
"""What is called when something may be replayed. While serving it wakes a thread, so that no request waits."""


def store_held() -> None:
    """Store, before the process ends, what only its memory holds, whatever signals come; say so if that fails."""
    spool = current_spool()
    if spool.held:
        with ignore_signals():
            replay()
    if spool.held:
        log.critical("records are lost with this process; the log has them", records=spool.held)


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Do not end at a signal meanwhile: one that comes again must not lose what the first one left to do."""
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with suppress(ValueError):  # signals end no other thread than the main one
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def find_spooled(event_id: str) -> Event | None:
    """Find an event that a recorder could not store yet in this machine's spool: its outcome, else its intent."""
    waiting = current_spool().read_waiting()
    found = waiting.get(event_id) or waiting.get(make_key({"id": event_id, "outcome": "started"}))
    return _read_event(found) if found else None


def _store_waiting(waiting: list[SpooledEvent]) -> list[SpooledEvent]:
    """Give the recorders what they lack; returns what they lack still."""
    events = {line.key: _read_event(line) for line in waiting}
    current_spool().set_aside([_encode(line) for line in waiting if events[line.key] is None])
    by = {recorder.plugin: recorder for recorder in list_recorders()}
    lacking: dict[str, set[str]] = {}
    replayed: dict[str, int] = {}
    # Those that nobody takes come first: if they cannot be set aside, nothing was stored that would be again.
    names = {name: None for line in waiting for name in line.recorders}
    for name in sorted(names, key=lambda name: name in by):
        lines = [line for line in waiting if name in line.recorders]
        wanted = {line.key: event for line in lines if (event := events[line.key])}
        if name in by:
            taken = _replay_to(by[name], list(wanted.items()))
            replayed[name] = len(taken)
            current_metrics().audit_replayed.inc(len(taken))
        elif name in current_host().plugins and current_host().plugins[name].state != "active":
            taken = set()  # blocked or refused: it may come back
        else:
            current_spool().set_aside([_encode(line) for line in lines])
            taken = set(wanted)
        lacking[name] = wanted.keys() - taken
    _end_outages({name for name in current_outages().copy() if replayed.get(name) or not lacking.get(name)}, replayed)
    kept = (
        SpooledEvent(line.event, tuple(name for name in line.recorders if line.key in lacking[name]))
        for line in waiting
    )
    return [line for line in kept if line.recorders]


def _replay_to(recorder: Implementation, events: Sequence[tuple[str, Event]]) -> set[str]:
    """Have one recorder store the events, each with its key, a batch a transaction; returns the keys that it took.

    One that it does not take does not hold up the others. A batch of which nothing is taken ends the attempt.
    """
    taken: set[str] = set()
    while events:
        stored: set[str] = set()
        tried = 0
        until = time.monotonic() + BATCH_SECONDS
        try:
            with unit_of_work() as session:
                for key_of_event, event in events[:BATCH]:
                    tried += 1
                    if not record(event.note_late(), session, (recorder,)):
                        stored.add(key_of_event)
                    if time.monotonic() > until:
                        break
        except HOOK_ERRORS:
            current_spool().due = True  # it was the database, not the event: again after the next success
            break
        taken |= stored
        if not stored:
            break
        events = events[tried:]
    return taken


def _end_outages(names: Iterable[str], replayed: Mapping[str, int]) -> None:
    """Say of these outages that they are over."""
    for name in names:
        current_outages().discard(name)
        log.warning("operations are recorded again", plugin=name or None, replayed=replayed.get(name, 0))


def _read_event(line: SpooledEvent) -> Event | None:
    try:
        return Event.from_document(line.event, current_operations())
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _encode(line: SpooledEvent) -> bytes:
    return dumps(line.to_line()).encode()
