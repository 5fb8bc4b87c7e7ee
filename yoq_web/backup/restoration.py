"""Restoring a backup: everything is built and checked beside the present database, which is replaced in one step.

Tables that must not go back in time, the audit trail above all, are carried over from the present database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from yoq_web.backup import postgres
from yoq_web.backup.age import NotOpened, Transform
from yoq_web.backup.archive import ArchiveContent, NotABackup
from yoq_web.backup.encryption import choose_decryption
from yoq_web.backup.manifest import BackupManifest, count_rows
from yoq_web.backup.operations import format_marks, ignore_steps, restore_done
from yoq_web.backup.snapshot import make_sqlite_engine
from yoq_web.backup.streams import read_file
from yoq_web.backup.transfer import carry, remake
from yoq_web.backup.validation import check_backup, make_refusal
from yoq_web.backup.workdir import Busy, hold_workdir, swap_files
from yoq_web.commands.progress import StepCallback
from yoq_web.contributions.keeper import Choice
from yoq_web.contributions.registry import list_keepers
from yoq_web.database import locks
from yoq_web.database.migrations import find_lineage
from yoq_web.database.session import db
from yoq_web.hooks.errors import isolate
from yoq_web.operations import failure_policy
from yoq_web.operations.door import begin_operation, make_reason
from yoq_web.operations.event import Event
from yoq_web.operations.recorders import record
from yoq_web.operations.replay import replay
from yoq_web.problems import Problem
from yoq_web.settings import Settings, SettingsError, current_settings
from yoq_web.times import format_local


@dataclass
class RestoreReport:
    """What a restore found and did, for people; `kept` is where the replaced database is."""

    manifest: BackupManifest
    migrated: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: str | None = None


@dataclass
class _Candidate:
    """A backup's database that passed every check, and what is to become of each owner's tables."""

    engine: Engine
    content: ArchiveContent
    choices: Mapping[str, Choice]
    migrated: list[str]


class Restore:
    """One restore of a file. The replaced database is kept aside if `keep`; `steps` is told how far it is."""

    def __init__(
        self,
        path: Path,
        *,
        identity: Path | None = None,
        passphrase: str | None = None,
        accept_fork: bool = False,
        keep: bool = True,
        steps: StepCallback = ignore_steps,
    ) -> None:
        self._path = path
        self._identity = identity
        self._passphrase = passphrase
        self._accept_fork = accept_fork
        self._keep = keep
        self._begun = False
        self._steps = steps
        self._settings: Settings = current_settings()

    def verify(self) -> RestoreReport:
        """Do every check and change nothing. Raises a Problem for the first thing that is wrong."""
        with hold_workdir(self._settings) as folder, self._open_candidate(folder) as candidate:
            return RestoreReport(candidate.content.manifest, candidate.migrated, self._list_notes(candidate))

    @contextmanager
    def prepare(self) -> Iterator[RestoreReport]:
        """Do every check with the database held alone, and restore when the block ends. Raises a Problem.

        What fails leaves the database as it was, and an entry that says so.
        """
        try:
            with locks.use_alone(self._settings), hold_workdir(self._settings) as folder:
                self._check_alone()
                # It may not be as it was: the records that wait belong into the trail that stays.
                replay()
                with isolate():
                    for _, keeper in list_keepers():
                        keeper.ready()
                with self._open_candidate(folder) as candidate:
                    result = RestoreReport(candidate.content.manifest, candidate.migrated, self._list_notes(candidate))
                    yield result
                    self._restore(candidate, result)
        except Problem as problem:
            if isinstance(problem, Busy):
                self.keep_refusal(problem)
                raise
            # Its entry is made; or it would be the first on a new machine, to which a trail may still come back.
            if self._begun or _is_blank():
                raise
            self._record_refusal(problem)

    def keep_refusal(self, problem: Problem) -> None:
        """Have the spool record that the restore was refused, and why, where the database is not to be touched.

        Another restore is at work, which replaces what this would be recorded in, or it is not ready to be used.
        """
        _explain(problem)
        event = begin_operation(restore_done, str(self._path), {})
        failure_policy.keep_for_later(event.end("failed", make_reason(problem)))

    def _record_refusal(self, problem: Problem) -> NoReturn:
        """Record that the restore was refused, and why, beside whoever uses the database; raises the problem."""
        _explain(problem)
        shared = False
        with suppress(locks.InUse), locks.use_shared(self._settings):
            shared = True
            with restore_done.undertaken(str(self._path)):
                raise problem from problem.__cause__
        if not shared:
            self.keep_refusal(problem)
        raise problem

    def _check_alone(self) -> None:
        if not self._settings.on_sqlite:
            db.session.close()
            db.engine.dispose()
            postgres.check_alone(db.engine)
            db.engine.dispose()

    @contextmanager
    def _open_candidate(self, folder: Path) -> Iterator[_Candidate]:
        content = self._open(folder)
        own = "sqlite" if self._settings.on_sqlite else "postgresql"
        if content.manifest.database != own:
            raise make_refusal(f"it is of a {content.manifest.database} database, and this one is {own}")
        with _open_database(content, own) as engine:
            self._steps("checking", 0, 1)
            migrated = check_backup(engine, content.manifest)
            self._steps("checking", 1, 1)
            yield _Candidate(engine, content, self._choose(engine), migrated)

    def _open(self, folder: Path) -> ArchiveContent:
        try:
            transform: Transform = choose_decryption(self._settings, self._path, self._identity, self._passphrase)
            size = self._path.stat().st_size
            done = 0

            def advance(step: int) -> None:
                nonlocal done
                done += step
                self._steps("reading", min(done, size), size)

            return read_file(self._path, transform, folder, advance)
        except (NotOpened, NotABackup) as error:
            raise Problem(422, "the backup cannot be opened", str(error)) from error
        except SettingsError as error:
            raise Problem(500, "the backup cannot be opened", str(error)) from error
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise Problem(404, "the backup cannot be read", f"{self._path}: {error.strerror}") from error

    def _choose(self, engine: Engine) -> dict[str, Choice]:
        db.session.close()
        found: dict[str, Choice] = {}
        for owner, keeper in list_keepers():
            with isolate():
                found[owner] = choice = keeper.choose(db.engine, engine)
            if choice.whose == "fork" and not self._accept_fork:
                said = f"{choice.reason}; --accept-fork begins a new one, which names the old one's head"
                raise Problem(409, "the backup cannot be restored", said)
        return found

    def _list_notes(self, candidate: _Candidate) -> list[str]:
        """List what people should know before they agree."""
        notes = []
        for owner, choice in candidate.choices.items():
            if choice.whose == "current":
                notes.append(f"{owner}: what is recorded now stays, and goes on")
            elif choice.whose == "fork":
                notes.append(f"{owner}: {choice.reason}; it begins anew")
        return notes

    def _restore(self, candidate: _Candidate, result: RestoreReport) -> None:
        self._begun = True
        manifest = candidate.content.manifest
        anew = tuple(line for choice in candidate.choices.values() if choice.whose == "fork" for line in choice.anew)
        whose = tuple(f"{owner} {choice.whose}" for owner, choice in candidate.choices.items())
        with restore_done.undertaken(
            str(self._path),
            created_at=manifest.created_at,
            version=manifest.version,
            node=manifest.node,
            sha256=manifest.sha256,
            marks=format_marks(manifest.marks),
            trail=whose,
            begins_anew=anew or None,
        ) as undertaking:
            db.session.close()
            with isolate():
                self._fill(candidate, undertaking.event, result)
            db.session.close()
            db.engine.dispose()
            result.kept = self._swap(candidate)
            undertaking.add(kept=result.kept)
            db.engine.dispose()
            with isolate():
                for _, keeper in list_keepers():
                    keeper.restored()

    def _fill(self, candidate: _Candidate, event: Event, result: RestoreReport) -> None:
        """Bring into the new database what is not to be the backup's."""
        for owner, keeper in list_keepers():
            choice = candidate.choices[owner]
            if choice.whose == "current":
                carry(find_lineage(owner), db.engine, candidate.engine)
            elif choice.whose == "fork":
                remake(find_lineage(owner), candidate.engine, choice.kept)
            keeper.prepare(choice, candidate.engine)
            for name, content in candidate.content.keys.items():
                if any(fnmatch(name, pattern) for pattern in keeper.files) and keeper.put_back(name, content):
                    result.notes.append(f"the key file {name} was put back")
        writing = candidate.engine.connect().execution_options(yoq_writes=True)
        with db.engine.connect() as present, writing, writing.begin():
            for _, keeper in list_keepers():
                result.notes += keeper.amend(present, writing)
        if any(choice.whose != "current" for choice in candidate.choices.values()):
            # The present trail has the intent, and it is not the one that goes on.
            with Session(candidate.engine) as session:
                session.connection(execution_options={"yoq_writes": True})
                record(replace(event, outcome="started"), session)
                session.commit()  # of a database that nobody uses yet, outside the unit of work

    def _swap(self, candidate: _Candidate) -> str | None:
        if not self._settings.on_sqlite:
            return postgres.swap(db.engine, candidate.engine, keep=self._keep)
        candidate.engine.dispose()
        current = locks.find_database_file(self._settings)
        assert current is not None  # noqa: S101 - a database in memory is no setting of ours
        return swap_files(current, candidate.content.database, keep=self._keep)


@contextmanager
def _open_database(content: ArchiveContent, kind: str) -> Iterator[Engine]:
    """Open the backup's database: the file itself, or one made of it beside the present one on the server."""
    if kind == "sqlite":
        engine = make_sqlite_engine(content.database)
        try:
            yield engine
        except SQLAlchemyError as error:
            raise make_refusal(f"its database cannot be read: {type(error).__name__}") from error
        finally:
            engine.dispose()
        return
    with postgres.make_scratch(db.engine) as engine:
        postgres.load(engine, content.database)
        content.database.unlink()
        yield engine


def _explain(problem: Problem) -> None:
    """Have the trail say all that the operator is told."""
    problem.reason = f"{problem.error}: {problem.detail}" if problem.detail else problem.error


def _is_blank() -> bool:
    """Tell whether nothing is stored in the present database, as on a new machine."""
    with db.engine.connect() as connection:
        return not any(rows for name, rows in count_rows(connection).items() if not name.startswith("alembic_version"))


def format_moment(manifest: BackupManifest) -> str:
    """Write when a backup was taken, for people."""
    return format_local(manifest.created_at * 1_000_000)
