"""The schedule of backups: one is taken when YOQ_BACKUP_SCHEDULE says so, by one process at a time.

What the newest run did is kept in the database, so that all servers that share it have one schedule. A run has a thread
of its own: sealing and rollouts do not wait for it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from flask import Flask, current_app
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.actors import act_as_system
from yoq_web.app_local import AppLocal
from yoq_web.backup import retention
from yoq_web.backup.models import ScheduledRun
from yoq_web.backup.operations import take_backup
from yoq_web.backup.settings import BACKUP_KEEP, BACKUP_SCHEDULE
from yoq_web.backup.workdir import lock_workdir, translate_disk_error
from yoq_web.database.locks import advisory_lock
from yoq_web.database.session import db, unit_of_work, upsert
from yoq_web.logs import render_exception
from yoq_web.problems import Problem
from yoq_web.settings import current_settings

log = get_logger("yoq_web")

LOOK_SECONDS = 10.0
"""How often is looked whether a backup is due."""
RETRY_SECONDS = 600
"""How long after one that failed, at most, the next is tried."""
TAKEOVER_SECONDS = 300
"""So much later another machine does what the one that took the last backup leaves undone."""
START_SECONDS = 15
"""So long after its beginning a run of this machine has a thread, and the thread the lock of all that is at work."""
LEASE_SECONDS = 3600
"""After so long another machine's run that has not ended is taken for dead."""
SKEW_SECONDS = 300
"""A run that began further in the future than this was timed by a clock that was wrong."""

FAILED = "the last scheduled one failed"
NOT_REMOVED = "old ones cannot be removed"
OVERDUE = "no scheduled one has succeeded for more than two intervals"


@dataclass(frozen=True)
class Run:
    """The newest run, as stored: see ScheduledRun."""

    node: str
    begun_at: int
    ended_at: int | None = None
    taken_at: int | None = None
    failure: str | None = None


def is_due(last: Run, now: float, every: int, *, here: bool) -> bool:
    """Tell whether the run after the `last` one is to begin now on this machine; `here` says whether that one did.

    It begins at the next multiple of the interval after the last one's beginning that is left when that has ended:
    what was missed is left out.
    """
    if last.begun_at > now + SKEW_SECONDS:
        return True
    if last.ended_at is None:
        return now >= last.begun_at + (START_SECONDS if here else LEASE_SECONDS)
    if last.taken_at != last.begun_at:
        return now >= last.ended_at + min(every, RETRY_SECONDS if here else TAKEOVER_SECONDS)
    whole = max(0, last.ended_at - last.begun_at) // every
    return now >= last.begun_at + (whole + 1) * every + (0 if here else TAKEOVER_SECONDS)


@dataclass
class Schedule:
    """When this process looks again and since when it does, and its run, if it has one."""

    next_look: float = 0.0
    since: float = 0.0
    worker: threading.Thread | None = None
    failure: str | None = None
    """Why the last run of this process failed; it is kept here too, for it may be the database that fails."""
    hindrance: str | None = None
    """Why this process cannot even begin one."""


current_schedule: AppLocal[Schedule] = AppLocal("backup_schedule", lambda _app: Schedule(since=time.time()))


def run_due() -> None:
    """Begin a run if it is due; its thread does the rest."""
    schedule, now = current_schedule(), time.monotonic()
    every = current_settings()[BACKUP_SCHEDULE]
    if every is None or now < schedule.next_look or (schedule.worker and schedule.worker.is_alive()):
        return
    schedule.next_look = now + LOOK_SECONDS
    try:
        run = _claim(every)
    except OSError as error:
        schedule.hindrance = f"{FAILED}: {translate_disk_error(error).error}"
        raise
    schedule.hindrance = None
    if run is not None:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # Flask's documented way
        schedule.worker = threading.Thread(target=_work, args=(app, run), name="backup", daemon=True)
        schedule.worker.start()


def find_concern() -> str | None:
    """Say what is wrong with the scheduled backups, if anything is, in a few words for anybody."""
    every = current_settings()[BACKUP_SCHEDULE]
    if every is None:
        return None
    run, schedule = _read(db.session()), current_schedule()
    if failure := (run and run.failure) or schedule.failure or schedule.hindrance:
        return failure
    since = schedule.since if run is None or run.taken_at is None else run.taken_at
    return OVERDUE if time.time() - since > 2 * every else None


def find_last_success() -> int | None:
    """Return when the last scheduled backup began that succeeded, in seconds since 1970."""
    run = _read(db.session())
    return None if run is None else run.taken_at


def _read(session: Session) -> Run | None:
    columns = (getattr(ScheduledRun, name) for name in Run.__dataclass_fields__)
    row = session.execute(select(*columns).where(ScheduledRun.id == 1)).one_or_none()
    return Run(*row) if row else None


def _claim(every: int) -> Run | None:
    """Begin the next run if it is due and nobody else begins it."""
    settings = current_settings()
    last = _read(db.session())
    if last and not is_due(last, time.time(), every, here=settings.on_sqlite or last.node == settings.node):
        return None
    with lock_workdir(settings) as alone:
        if not alone:  # somebody takes a backup, or another process is at this run
            return None
    with unit_of_work() as session:
        advisory_lock(session, "backup schedule")
        if _read(session) != last:
            return None
        run = Run(settings.node, int(time.time()), taken_at=last.taken_at if last else None)
        session.execute(upsert(ScheduledRun, key=("id",), update=tuple(vars(run))), {"id": 1, **vars(run)})
    return run


def _work(app: Flask, run: Run) -> None:
    with app.app_context(), act_as_system():
        schedule = current_schedule()
        took, failure = False, None
        try:
            taken = take_backup(None)
            took = True
            retention.note_file(taken.path)
            retention.remove_old(current_settings()[BACKUP_KEEP])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged, stored and told by /health
            failure = f"{NOT_REMOVED if took else FAILED}: {_describe(error)}"
            more = {"detail": error.detail} if isinstance(error, Problem) else {"exception": render_exception(error)}
            log.error(failure, **more)  # noqa: TRY400 - render_exception() leaves values out
        schedule.failure = failure
        try:
            _end(run, failure, took=took)
        except (SQLAlchemyError, Problem) as error:
            log.error("the end of a scheduled backup cannot be stored", error=type(error).__name__)  # noqa: TRY400 - as above


def _end(run: Run, failure: str | None, *, took: bool) -> None:
    end = {"ended_at": int(time.time()), "failure": failure} | ({"taken_at": run.begun_at} if took else {})
    same = (ScheduledRun.begun_at == run.begun_at) & (ScheduledRun.node == run.node)
    with unit_of_work() as session:
        session.execute(update(ScheduledRun).where(same).values(end))


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        error = translate_disk_error(error)
    return error.error if isinstance(error, Problem) else type(error).__name__
