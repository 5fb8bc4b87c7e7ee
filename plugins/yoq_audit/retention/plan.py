"""Plans: which bundles may be pruned, those that are old, sealed, whole and exactly what was signed.

A bundle that is not what was signed is not pruned: that would do away with the evidence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.proofs import prover
from yoq_audit.retention.age import Holder, Timed, find_earliest, find_holder
from yoq_audit.storage import tree
from yoq_audit.storage.clocks import SECOND, find_sealing
from yoq_audit.storage.models import ENTRIES, ERASED
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashes import HASH_SIZE, LEAF_PREFIX
from yoq_audit.tlog.leaf import FIELDS, encode_leaf
from yoq_audit.tlog.tiles import TILE, Tile
from yoq_audit.tlog.verified_tiles import VerifiedTiles
from yoq_web import Problem, db

TIME, EVENT_ID = FIELDS.index("time"), FIELDS.index("event_id")


@dataclass(frozen=True)
class CheckedBundle:
    """A bundle that is what was signed: each place's leaf, None for an erased one, and the hashes that were signed."""

    number: int
    leaves: tuple[bytes | None, ...]
    details: tuple[tuple[int, str], ...]
    """Details that are too long for their leaf, with the place of the entry."""
    hashes: bytes
    entries: tuple[Timed, ...]


@dataclass
class Plan:
    """A range of the log that may be pruned, as far as it was looked at."""

    before: int
    """The minimum index so far, where the range begins."""
    now: int
    """When the plan was made. This and other times are in microseconds since 1970."""
    older_than: int
    """How old the entries of the range are at least, in seconds."""
    size: int
    note: str
    tiles: VerifiedTiles
    earliest: int
    """A time before which nothing can have been sealed that comes next."""
    reached: int = 0
    entries: int = 0
    latest: int = 0
    """The latest time that an entry of the range has, which may be one of the future."""
    holder: Holder | None = None
    """What keeps the next bundle from being pruned, once that is known."""
    done: bool = False

    @property
    def cutoff(self) -> int:
        """The time before which all entries of the range are."""
        return max(self.now - self.older_than * SECOND, self.latest + 1)

    @property
    def target(self) -> str:
        """The range as the trail shows it: its first and last index."""
        return f"{self.before}-{self.reached - 1}"

    def extend(self, until: float | None = None, most: int = 2**62) -> None:
        """Look at further bundles, until the monotonic clock says `until` or the range has `most` entries.

        Raises a Problem at a bundle that is not what was signed.
        """
        while not self.done:
            end = self.reached + TILE
            if end > self.size or end - self.before > most:
                self.done = True
            else:
                self._look_at(read_bundle(db.session(), self.reached // TILE, self.tiles))
            if until is not None and time.monotonic() > until:
                return

    def _look_at(self, bundle: CheckedBundle) -> None:
        """Take a bundle into the range if it is old enough; else the plan is done."""
        last = self.reached + TILE - 1
        sealed = find_sealing(db.session(), last, self.earliest, self.now)
        self.holder = find_holder(bundle.entries, sealed, self.now - self.older_than * SECOND, self.now)
        if self.holder is not None:
            self.done = True
            return
        self.reached = last + 1
        self.entries += len(bundle.entries)
        self.latest = max([self.latest, *(entry.time for entry in bundle.entries)])
        self.earliest = max(self.earliest, sealed or 0)

    def read_bundles(self) -> Iterator[CheckedBundle]:
        """Read each bundle of the range."""
        for number in range(self.before // TILE, self.reached // TILE):
            yield read_bundle(db.session(), number, self.tiles)


def make_plan(before: int, older_than: int) -> Plan:
    """Make a plan for what is older than so many seconds, from the index `before` on; seals what is not sealed."""
    newest = prover.seal_now()
    tiles = verify_tiles(newest.size, newest.root)
    now = time.time_ns() // 1000
    earliest = find_earliest(db.session(), now)
    return Plan(before, now, older_than, newest.size, newest.note, tiles, earliest, reached=before)


def verify_tiles(size: int, root: bytes) -> VerifiedTiles:
    """Hold the stored tiles against a signed root. Raises a Problem if they are not of it."""

    def read(tile: Tile) -> bytes:
        return tree.read_tile(db.session(), tile)  # whichever session there is: a plan outlives one

    try:
        return VerifiedTiles(read, size, root)
    except LogError as error:
        raise explain_damage(str(error)) from error


def read_bundle(session: Session, number: int, tiles: VerifiedTiles) -> CheckedBundle:
    """Read one bundle and check it. Raises a Problem if it is not what was signed."""
    first = number * TILE
    places = tree.select_places(first, TILE)
    rows = session.execute(
        select(places.c.leaf_index, *(ENTRIES.c[name] for name in FIELDS)).join(
            ENTRIES, ENTRIES.c.id == places.c.entry_id
        )
    ).all()
    erased = set(session.scalars(select(ERASED.c.leaf_index).where(ERASED.c.leaf_index.between(first, first + 255))))
    try:
        return _check_bundle(number, rows, erased, tiles.read_leaves(number))
    except LogError as error:
        raise explain_damage(str(error)) from error


def _check_bundle(number: int, rows: Sequence[Sequence[Any]], erased: set[int], hashes: bytes) -> CheckedBundle:
    first = number * TILE
    leaves: list[bytes | None] = [None] * TILE
    long: list[tuple[int, str]] = []
    entries: list[Timed] = []
    for row in rows:
        index, columns = row[0], row[1:]
        leaf = encode_leaf(columns)
        at = (index - first) * HASH_SIZE
        if sha256(LEAF_PREFIX + leaf).digest() != hashes[at : at + HASH_SIZE]:
            raise explain_damage(f"number {index} is not the entry that was sealed")
        leaves[index - first] = leaf
        entries.append(Timed(index, columns[EVENT_ID], columns[TIME]))
        if not leaf.endswith(f'"details":{columns[-1]}}}'.encode()):
            long.append((index, columns[-1]))
    for at, leaf_or_none in enumerate(leaves):
        if leaf_or_none is None and first + at not in erased:
            raise explain_damage(f"number {first + at} of the log is missing")
    return CheckedBundle(number, tuple(leaves), tuple(long), hashes, tuple(entries))


def explain_damage(reason: str) -> Problem:
    """Return what is answered for a log that does not hold: evidence is not pruned."""
    return Problem(409, "the log does not hold, so nothing is pruned", f"{reason}; {prover.VERIFY}")
