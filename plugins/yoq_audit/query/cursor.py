"""The cursor: where a page ended, of which walk, with which filters. Opaque to those who carry it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

from yoq_audit.query.filters import Selection
from yoq_audit.query.snapshot import Snapshot
from yoq_web import Problem, dumps, read_cursor, write_cursor

VERSION = 1
OF = b"yoq audit cursor"
BEYOND = 2**63


@dataclass(frozen=True)
class Cursor:
    """The last entry shown (its id, or its time and id), and what the walk shows. Times in microseconds since 1970.

    `log` is the id of the log that is walked, and `minimum` its minimum index when the page was read; those that were
    given out before these were in them have neither.
    """

    position: tuple[int, ...]
    snapshot: Snapshot
    since: int | None = None
    until: int | None = None
    log: str = ""
    minimum: int = 0

    def encode(self, selection: Selection, order: str) -> str:
        """Write the cursor as text, good for these filters and this order only."""
        # Of each range the distances: the gap before it, and its length.
        ends = [self.snapshot.floor, *(end for ends in self.snapshot.ranges for end in ends)]
        steps = [high - low for low, high in pairwise(ends)]
        parts = [VERSION, order, selection.digest(), self.since, self.until, *self.position]
        payload = dumps([parts, self.snapshot.floor, self.snapshot.size, steps, self.log, self.minimum]).encode()
        return write_cursor(payload, OF)


def decode_cursor(text: str, selection: Selection, order: str) -> Cursor:
    """Read a cursor from its text. Raises a 400 for one that was not given out so, or for other filters."""
    try:
        parts, floor, size, steps, *log = json.loads(read_cursor(text, OF))
        version, given_order, digest, since, until, *position = parts
        log_id, minimum = log or ("", 0)
        numbers = [floor, size, minimum, *position, *steps, *(each for each in (since, until) if each is not None)]
        sound = version == VERSION and isinstance(log_id, str)
        sound = sound and len(position) == 1 + (since is not None or until is not None)
        sound = sound and all(type(number) is int and abs(number) < BEYOND for number in numbers)
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise Problem(400, "invalid cursor", "take it from the Link header as it is")
    if digest != selection.digest() or given_order != order:
        raise Problem(400, "invalid cursor", "it belongs to other filters or another order: repeat those it came with")
    return Cursor(tuple(position), Snapshot(floor, size, _make_ranges(floor, steps)), since, until, log_id, minimum)


def _make_ranges(floor: int, steps: list[int]) -> tuple[tuple[int, int], ...]:
    ends: list[int] = []
    at = floor
    for step in steps:
        at += step
        ends.append(at)
    return tuple(zip(ends[::2], ends[1::2], strict=False))
