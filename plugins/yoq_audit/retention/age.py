"""Age: how old an entry is for retention, whatever the clocks showed that it and its checkpoint went by.

An entry counts as old as the later of two times: its own, which is signed, and when it was sealed, which is not, but
which no other machine's clock and no spool makes earlier. What lies in the future is no time of either. So a clock that
was ahead holds nothing up for ever; one that was behind, and who alters the times of checkpoints, lets nothing go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.storage.clocks import BEGINNING, is_ahead
from yoq_audit.storage.models import PRUNED
from yoq_web import format_local, format_time


@dataclass(frozen=True)
class Timed:
    """An entry as far as its age goes: its place, its event's id, and its time in microseconds since 1970."""

    index: int
    event_id: str
    time: int


@dataclass(frozen=True)
class Holder:
    """What keeps a bundle from being pruned: an entry, whether it lies in the future, and when the bundle was sealed.

    Times are in microseconds since 1970. `sealed` is None where no clock that can be believed says it.
    """

    entry: Timed
    in_future: bool
    sealed: int | None

    def to_document(self) -> dict[str, str | int | bool | None]:
        """Return it as the command prints it for programs."""
        return {
            "index": self.entry.index,
            "event_id": self.entry.event_id,
            "time": format_time(self.entry.time),
            "in_future": self.in_future,
            "sealed": None if self.sealed is None else format_time(self.sealed),
        }

    def __str__(self) -> str:
        said = f"number {self.entry.index} of the log ({self.entry.event_id}) is of {format_local(self.entry.time)}"
        said += ", which lies in the future" if self.in_future else ""
        if self.sealed is None:
            return f"{said}; no checkpoint since was made by a clock that can be believed, so its age is not known yet"
        return f"{said}; it was sealed {format_local(self.sealed)}"


def find_earliest(session: Session, now: int) -> int:
    """Return a time, in microseconds since 1970, before which nothing can have been sealed that is not pruned yet."""
    last = session.scalar(select(PRUNED.c.last_time).order_by(PRUNED.c.number.desc()).limit(1))
    return BEGINNING if last is None or is_ahead(last, now) else max(BEGINNING, last)


def find_holder(entries: Iterable[Timed], sealed: int | None, cutoff: int, now: int) -> Holder | None:
    """Find what keeps the entries of a bundle from being older than the `cutoff`; None if all are.

    That is the youngest by its own clock, or else one of the future, or the last one.
    """
    known = list(entries)
    believed = [entry for entry in known if not is_ahead(entry.time, now)]
    youngest = max(believed, key=lambda entry: entry.time, default=None)
    if youngest is not None and youngest.time >= cutoff:
        return Holder(youngest, in_future=youngest.time > now, sealed=sealed)
    if not known or (sealed is not None and sealed < cutoff):
        return None
    ahead = [entry for entry in known if is_ahead(entry.time, now)]
    return Holder(ahead[-1] if ahead else known[-1], in_future=bool(ahead), sealed=sealed)
