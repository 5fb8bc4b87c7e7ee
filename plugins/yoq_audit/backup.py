"""The trail in backups: what is recorded stays recorded, whatever is restored. A log that cannot go on begins anew.

After a restore the present trail stays if the backup's log is its beginning; the backup's trail comes back where there
is none, as on a new machine. Two logs of which neither is the beginning of the other are a fork.
"""

from __future__ import annotations

import time
from base64 import b64encode
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.orm import Session

from yoq_audit.sealing import keys, sealer, signer
from yoq_audit.settings import LOG_ORIGIN
from yoq_audit.storage import tree
from yoq_audit.storage.models import ENTRIES, LogKey
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashes import EMPTY_ROOT
from yoq_audit.tlog.note import Signer, Verifier
from yoq_audit.verification.checker import verify
from yoq_audit.verification.report import quote_value
from yoq_web import Choice, Keeper, Mark, SettingsError, current_settings


@dataclass(frozen=True)
class _LogState:
    """A database's log: how much is sealed, and what is not sealed yet, as (id, event, outcome)."""

    session: Session
    size: int
    root: bytes
    entries: int
    unsealed: tuple[tuple[int, str, str], ...]

    @classmethod
    def of(cls, session: Session) -> _LogState:
        newest = tree.find_newest_checkpoint(session)
        columns = (ENTRIES.c.id, ENTRIES.c.event_id, ENTRIES.c.outcome)
        unsealed = session.execute(tree.select_unsealed().with_only_columns(*columns))
        return cls(
            session,
            newest.size if newest else 0,
            bytes(newest.root) if newest else EMPTY_ROOT,
            session.scalar(select(func.count()).select_from(ENTRIES)) or 0,
            tuple((row.id, row.event_id, row.outcome) for row in unsealed),
        )

    def begins_with(self, size: int, root: bytes) -> bool:
        """Tell whether the tree is an extension of another one. Raises LogError if it is damaged."""
        return size <= self.size and tree.find_root(self.session, size) == root

    def extends(self, other: _LogState) -> bool:
        """Tell whether everything in another log is in this one, in the same place."""
        if not self.begins_with(other.size, other.root):
            return False
        for start in range(0, len(other.unsealed), 500):
            part = other.unsealed[start : start + 500]
            rows = self.session.execute(
                select(ENTRIES.c.id, ENTRIES.c.event_id, ENTRIES.c.outcome).where(
                    ENTRIES.c.id.in_([row[0] for row in part])
                )
            )
            if {tuple(row) for row in rows} != set(part):
                return False
        return True


class TrailKeeper(Keeper):
    """The audit log's say in backups."""

    files = (keys.KEY_FILE,)

    def ready(self) -> None:
        """Seal what was recorded, the backup's own intent too, so that the checkpoint covers it."""
        sealer.try_to_seal()

    def mark(self, connection: Connection) -> Mark:
        """Return the newest signed checkpoint."""
        newest = tree.find_signed_tree(Session(connection))
        if newest is None:
            return {}
        return {"size": newest.size, "root": b64encode(newest.root).decode(), "checkpoint": newest.note}

    def faults(self, backup: Engine) -> list[str]:
        """Return what `audit verify` finds in the backup's log."""
        connection = backup.raw_connection()
        try:
            report = verify(connection.driver_connection)
        finally:
            connection.close()
        return [f"its audit log does not hold: {quote_value(finding.message)}" for finding in report.findings]

    def choose(self, current: Engine, backup: Engine) -> Choice:
        """Choose the present trail if it goes on from the backup's, else the backup's if that goes on from it."""
        with Session(current) as now, Session(backup) as then:
            known = {*keys.read_vkeys(now), *keys.read_vkeys(then)}
            try:
                head = keys.read_head([Verifier.from_vkey(vkey) for vkey in sorted(known)]) if known else None
                return self._choose(_LogState.of(now), _LogState.of(then), head)
            except (SettingsError, LogError) as error:
                return self._make_fork(str(error), None)

    def _choose(self, present: _LogState, past: _LogState, head: Checkpoint | None) -> Choice:
        if head is not None and not present.begins_with(head.size, head.root) and present.entries:
            return self._make_fork(f"the present log is not the one that {keys.HEAD_FILE} was signed for", head)
        if present.entries and present.extends(past):
            return Choice("current")
        if not past.extends(present):
            return self._make_fork("the backup's log is not the beginning of the present one", _make_head(present))
        if head is not None and not past.begins_with(head.size, head.root):
            said = f"{head.size} entries were sealed according to {keys.HEAD_FILE}, the backup has {past.size}"
            return self._make_fork(f"the present log is lost: {said}", head)
        return Choice("backup")

    def _make_fork(self, reason: str, head: Checkpoint | None) -> Choice:
        ended = f"{head.origin} {head.size} {b64encode(head.root).decode()}" if head else "unknown"
        return Choice("fork", f"two logs would come of it: {reason}", (ended,), (ENTRIES.name,))

    def prepare(self, choice: Choice, new: Engine) -> None:
        """Have the files beside the database agree with it, before it is in place."""
        if choice.whose == "fork":
            # As when a log begins: the key is on disk before any database knows it.
            key = Signer.generate(current_settings()[LOG_ORIGIN])
            keys.write_next(key)
            with Session(new) as session:
                session.connection(execution_options={"yoq_writes": True})
                session.execute(insert(LogKey).values(vkey=key.vkey, added_at=int(time.time())))
                session.commit()  # of a database that nobody uses yet, outside the unit of work
        elif choice.whose == "backup":
            with Session(new) as session:
                newest = tree.find_signed_tree(session)
                known = [Verifier.from_vkey(vkey) for vkey in keys.read_vkeys(session)]
                if newest is not None:
                    keys.keep_head(newest.note, newest.size, known)

    def restored(self) -> None:
        """End the log that was replaced, if so."""
        signer.retire_replaced_key()


def _make_head(log: _LogState) -> Checkpoint | None:
    return Checkpoint(current_settings()[LOG_ORIGIN], log.size, log.root) if log.size else None
