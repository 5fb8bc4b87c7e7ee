"""The checker of a log: every leaf is rebuilt from the stored columns, and the tree from the leaves.

It goes through the log once, a tile at a time, beside the stored tiles and the stored checkpoints. What does not hold
is explained afterwards, in `diagnosis`. It writes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashes import EMPTY_ROOT, HASH_SIZE, LEAF_PREFIX
from yoq_audit.tlog.leaf import LeafError, encode_leaf
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tiles import TILE, Tile, compute_tile_root, make_subtree
from yoq_audit.tlog.tree import Frontier, compute_root
from yoq_audit.verification.checkpoints import CheckpointComparison
from yoq_audit.verification.diagnosis import Suspect, Suspects, explain
from yoq_audit.verification.reader import FIRST_FIELD, RECORDED_AT, TIME, LogReader, Row, hash_columns
from yoq_audit.verification.reconciliation import reconcile
from yoq_audit.verification.removed_places import find_removed_places
from yoq_audit.verification.report import Report
from yoq_audit.verification.rows import check_numbers, check_rows
from yoq_web import ProgressCallback

FULL = TILE * HASH_SIZE
BATCH = 32 * TILE
"""Leaves read at a time."""
AHEAD = 2
"""Batches asked for ahead: with one alone the database would stand still until the other thread asks for the next."""


def verify(
    connection: Any,
    *,
    own: Verifier | None = None,
    head: Checkpoint | None = None,
    progress: ProgressCallback | None = None,
) -> Report:
    """Verify the log behind a driver's connection that is in no transaction.

    `own` is the log's key as this machine has it, without which the database's keys are believed. `head` is the
    checkpoint kept outside the database; it must have been read before, because the log goes on growing. `progress` is
    told how many leaves are done.
    """
    with LogReader(connection) as reader:
        return _Verification(reader, own, head, progress or (lambda _done, _size: None)).run()


class _Verification:
    def __init__(
        self, reader: LogReader, own: Verifier | None, head: Checkpoint | None, progress: ProgressCallback
    ) -> None:
        self._reader = reader
        self._report = Report(entries=reader.fetch_value("SELECT count(*) FROM audit_log"))
        self._progress = progress
        self._upper = Frontier()  # over the roots of full tiles of level 0
        self._growing: list[bytearray] = [bytearray()]  # by level; level 0 is not kept
        self._suspects = Suspects()
        self._placed = 0
        self._checkpoints = CheckpointComparison(reader, self._report, own, head)
        self._size = self._checkpoints.size
        self._removed = find_removed_places(reader, self._report, self._checkpoints.keys, self._size)
        self._edge: bool | None = None

    def run(self) -> Report:
        """Go through everything."""
        walked, root = self._walk()
        self._report.size, self._report.root = walked, root
        self._checkpoints.finish(walked)
        self._check_upper_tiles(walked)
        check_rows(self._reader, self._report)
        explain(self._reader, self._report, self._suspects, whole=self._placed == self._report.entries)
        if self._report.ok:
            check_numbers(self._reader, self._report, self._removed.minimum)
        return self._report

    def _walk(self) -> tuple[int, bytes]:
        """Go through the leaves; returns how many the tree has and its root."""
        walked, root = 0, EMPTY_ROOT
        for number, hashes, data in self._stream_bulks():
            width = min(TILE, self._size - walked)
            if data:
                leaves, node = hashes, compute_tile_root(data) if width == TILE else b""
                self._placed += width
            else:
                rows, stored = self._reader.fetch_placed(walked, width), self._reader.fetch_tile(0, number)
                if stored is None and rows.count(None) == width and walked >= self._removed.minimum:
                    break  # whatever the checkpoints say
                leaves, node = self._reconcile_tile(number, rows, stored)
            self._checkpoints.compare_within(walked, leaves, self._upper.hashes)
            walked += width
            if width < TILE:
                local = Frontier()
                local.extend(leaves)
                root = Frontier(walked, (*self._upper.hashes, *local.hashes)).root
                break
            node = self._choose_root(number, node)
            self._upper.append(node)
            self._add_root(1, node)
            root = self._upper.root
            self._checkpoints.compare_at(walked, root)
            self._progress(walked, self._size)
        return walked, root

    def _stream_bulks(self) -> Iterator[tuple[int, list[bytes], bytes]]:
        """Yield each tile's number and leaf hashes, single and joined; none if they are not had fast and as stored."""

        def fetch(first: int) -> tuple[list[bytes], bytes] | None:
            return self._reader.fetch_bulk(first, min(BATCH, self._size - first), self._size)

        starts = range(0, self._size, BATCH)
        # The database works at the next leaves while these are hashed.
        with ThreadPoolExecutor(1) as ahead:
            waiting = deque(ahead.submit(fetch, start) for start in starts[:AHEAD])
            for at, start in enumerate(starts):
                texts, stored = waiting.popleft().result() or ((), b"")
                waiting.extend(ahead.submit(fetch, later) for later in starts[at + AHEAD : at + AHEAD + 1])
                leaves = [sha256(text).digest() for text in texts]
                if b"".join(leaves) != stored:
                    leaves, stored = [], b""
                for first in range(0, min(BATCH, self._size - start), TILE):
                    end = first + TILE
                    yield (start + first) // TILE, leaves[first:end], stored[first * HASH_SIZE : end * HASH_SIZE]

    def _reconcile_tile(self, number: int, rows: list[Row | None], stored: bytes | None) -> tuple[list[bytes], bytes]:
        """Return the leaf hashes that a tile of level 0 ought to have, and their root if it is full."""
        first, width = number * TILE, len(rows)
        computed = self._hash_rows(first, rows)
        data = b"".join(computed) if None not in computed else b""  # type: ignore[arg-type]  # as was just looked
        if data and data == stored:
            return computed, compute_tile_root(data) if width == TILE else b""  # type: ignore[return-value]  # as above
        kept: list[bytes | None] = [None] * width
        if stored is not None:
            held = [stored[at : at + HASH_SIZE] for at in range(0, width * HASH_SIZE, HASH_SIZE)]
            kept = [node if len(node) == HASH_SIZE else None for node in held]
        absent = self._list_removed(first, rows)
        for at in absent:
            computed[at] = kept[at]
        if absent and computed == kept and None not in kept:
            return kept, compute_tile_root(b"".join(kept)) if width == TILE else b""  # type: ignore[return-value,arg-type]  # as above
        chosen = reconcile(computed, kept, self._make_test(number, width))
        if stored is None or len(stored) != width * HASH_SIZE or chosen.wrongly_kept:
            self._report_tile(0, number, stored)
        for at in (at for at in chosen.wrongly_computed if at not in absent):
            self._suspects.add(Suspect(first + at, rows[at], computed[at], kept[at]))
        return chosen.leaves, compute_tile_root(b"".join(chosen.leaves)) if width == TILE else b""

    def _list_removed(self, first: int, rows: list[Row | None]) -> set[int]:
        """List the positions of entries that are not there because that was announced: only their hash is left."""
        absent = {index - first for index in self._removed.list_within(first, len(rows))}
        absent = {at for at in absent if (row := rows[at]) is None or row[2] is None}
        pruned = sum(rows[at] is None for at in absent)
        self._report.pruned += pruned
        self._report.erased += len(absent) - pruned
        return absent

    def _hash_rows(self, first: int, rows: list[Row | None]) -> list[bytes | None]:
        """Hash the leaves of these rows, None where there is no entry or none that can be a leaf."""
        sha, encode, start = sha256, encode_leaf, FIRST_FIELD
        try:
            hashes: list[bytes | None] = [
                sha(LEAF_PREFIX + encode(row[start:])).digest()  # type: ignore[index]  # TypeError is caught
                for row in rows
            ]
            self._placed += len(rows)
        except (LeafError, TypeError):
            hashes = [None if row is None else hash_columns(row[start:]) for row in rows]
            self._placed += sum(row is not None and row[2] is not None for row in rows)
        for at, row in enumerate(rows):
            if hashes[at] and row[TIME] // 1_000_000 != row[RECORDED_AT]:  # type: ignore[index]  # there is a hash
                self._report_misdated(first + at, row)  # type: ignore[arg-type]  # as above
        return hashes

    def _report_misdated(self, index: int, row: Row) -> None:
        was, now = row[TIME] // 1_000_000, row[RECORDED_AT]
        where = {"entry": row[2], "event_id": row[FIRST_FIELD + 1], "index": index, "field": "recorded_at"}
        message = f"entry {row[2]} ({row[FIRST_FIELD + 1]}) altered: recorded_at is {now}, its time says {was}"
        self._report.add("altered", message, **where, was=str(was), now=str(now))

    def _make_test(self, number: int, width: int) -> Callable[[list[bytes]], bool]:
        """Make a test whether leaf hashes are what the tree above, or its newest checkpoint, was made of."""
        if width == TILE:
            above = self._read_slot(1, number)
            return lambda leaves: compute_tile_root(b"".join(leaves)) == above

        def fits(leaves: list[bytes]) -> bool:
            local = Frontier()
            local.extend(leaves)
            return Frontier(self._size, (*self._upper.hashes, *local.hashes)).root == self._checkpoints.newest_root

        return fits

    def _choose_root(self, number: int, node: bytes) -> bytes:
        """Return the root of a full tile of level 0, by the tree above if that is what was signed."""
        above = self._read_slot(1, number)
        if above and above != node and self._is_trusted(1, number // TILE):
            first = number * TILE
            self._checkpoints.report_broken(first + TILE, f"tile 0/{number} altered, and entries with it")
            return above
        return node

    def _read_slot(self, level: int, number: int) -> bytes:
        """Read the root of a tile below as it is stored in the tile of this level above it."""
        data = self._reader.fetch_tile(level, number // TILE) or b""
        return data[number % TILE * HASH_SIZE :][:HASH_SIZE]

    def _is_trusted(self, level: int, number: int) -> bool:
        """Tell whether a stored tile leads to the newest signed root."""
        if (number + 1) * TILE <= self._size >> 8 * level:
            data = self._reader.fetch_tile(level, number) or b""
            whole = len(data) == FULL and compute_tile_root(data) == self._read_slot(level + 1, number)
            return whole and self._is_trusted(level + 1, number // TILE)
        if self._edge is None:
            try:
                subtree = make_subtree(lambda tile: self._reader.fetch_tile(tile.level, tile.index) or b"", self._size)
                self._edge = compute_root(self._size, subtree) == self._checkpoints.newest_root
            except LogError:
                self._edge = False
        return self._edge

    def _add_root(self, level: int, node: bytes) -> None:
        """Add the root of a full tile to the tile above; compare that when it is full."""
        if level == len(self._growing):
            self._growing.append(bytearray())
        held = self._growing[level]
        held += node
        if len(held) == FULL:
            data = bytes(held)
            held.clear()
            number = (self._upper.size >> 8 * level) - 1
            if (stored := self._reader.fetch_tile(level, number)) != data:
                self._report_tile(level, number, stored)
            self._add_root(level + 1, compute_tile_root(data))

    def _check_upper_tiles(self, size: int) -> None:
        """Compare the partial tiles above the leaves, and look for tiles that the tree does not have."""
        for level, held in enumerate(self._growing):
            number = (size >> 8 * level) // TILE
            if level and held and (stored := self._reader.fetch_tile(level, number)) != bytes(held):
                self._report_tile(level, number, stored)
        conditions = " AND ".join(
            f"NOT (level = {level} AND number >= 0 AND number < {-(-(size >> 8 * level) // TILE)})"
            for level in range(len(self._growing) + 1)
        )
        query = f"SELECT level, number FROM audit_tile WHERE {conditions} ORDER BY level, number LIMIT 101"  # noqa: S608 - numbers only
        for level, number in self._reader.fetch_all(query):
            self._report.add("tile", f"tile {level}/{number} is beyond the end of the tree")

    def _report_tile(self, level: int, number: int, stored: bytes | None) -> None:
        what = "missing" if stored is None else "altered"
        self._report.add("tile", f"tile {level}/{number} {what} ({Tile(level, number).path})")
