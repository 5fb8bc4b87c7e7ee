"""Clocks: which of the times that entries and checkpoints bear can be believed.

Every machine stores what its own clock shows, and nothing is put right afterwards: what was signed stays. So whatever
goes by a stored time asks here first whether it can be.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.storage.models import CHECKPOINTS

SECOND = 1_000_000

AHEAD = 3600 * SECOND
"""Microseconds: what lies further in the future was timed by a clock that was wrong. Machines differ by minutes."""

BEGINNING = 1_735_689_600 * SECOND
"""The start of 2025, before this program: a clock that shows an earlier time was never set."""


def is_ahead(moment: int, now: int) -> bool:
    """Tell whether an entry's time lies so far in the future that its clock was wrong. In microseconds since 1970."""
    return moment > now + AHEAD


def find_sealing(session: Session, place: int, earliest: int, now: int) -> int | None:
    """Return by when a place of the log was sealed: the time of the first checkpoint with it that can be believed.

    That is one which lies neither in the future nor before `earliest`, when what is before it in the log was sealed.
    All are in microseconds since 1970. None if there is no such checkpoint yet.
    """
    believed = CHECKPOINTS.c.sealed_at.between(earliest // SECOND, (now + AHEAD) // SECOND)
    found = select(CHECKPOINTS.c.sealed_at).where(CHECKPOINTS.c.size > place, believed)
    sealed = session.scalar(found.order_by(CHECKPOINTS.c.size).limit(1))
    return None if sealed is None else sealed * SECOND
