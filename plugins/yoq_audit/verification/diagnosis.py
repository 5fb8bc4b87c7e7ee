"""Diagnosis of what does not match: which entries were altered (and in which field), removed, inserted or moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from yoq_audit.sealing.overdue import Waiting
from yoq_audit.tlog.hashes import HASH_SIZE
from yoq_audit.tlog.leaf import FIELDS
from yoq_audit.verification.reader import FIRST_FIELD, LogReader, Row, hash_columns
from yoq_audit.verification.report import LIMIT, Report, quote_value

TIME = FIELDS.index("time")

REMEMBERED = 10_000
"""So many hashes of entries that do not match are remembered."""
CANDIDATES = 5_000
"""So many values of one column are tried."""
TRIES = 2_000_000
"""So many in all, a matter of seconds."""


@dataclass(frozen=True)
class Suspect:
    """A place whose entry is not the sealed one: what stands there, its hash, and the hash that was sealed."""

    index: int
    row: Row | None
    computed: bytes | None
    sealed: bytes | None


@dataclass
class Suspects:
    """The places that do not match: the first ones, and how many."""

    first: list[Suspect] = field(default_factory=list)
    count: int = 0
    computed: set[bytes] = field(default_factory=set)
    """Hashes of the entries at any of these places."""

    def add(self, suspect: Suspect) -> None:
        """Remember or count one more."""
        self.count += 1
        if len(self.first) < LIMIT:
            self.first.append(suspect)
        if suspect.computed and len(self.computed) < REMEMBERED:
            self.computed.add(suspect.computed)


def explain(reader: LogReader, report: Report, suspects: Suspects, *, whole: bool) -> None:
    """Tell what became of every suspect, of every entry without a place, and of places that the tree does not have.

    `whole` says that every entry has a place, so that none has to be looked for.
    """
    wanted = {suspect.sealed for suspect in suspects.first if suspect.sealed}
    displaced = {} if whole and not suspects.count else _report_unplaced(reader, report, wanted)
    displaced |= _report_strays(reader, report, wanted)
    explainer = _Explainer(reader, report, displaced, _find_sealed_places(reader, suspects))
    for suspect in suspects.first:
        explainer.explain(suspect, sealed_elsewhere=suspect.sealed in suspects.computed)
    report.found += suspects.count - len(suspects.first)


def _report_unplaced(reader: LogReader, report: Report, wanted: set[bytes]) -> dict[bytes, tuple[int, str]]:
    """Count what waits to be sealed and report what was inserted; returns those with a wanted hash."""
    displaced: dict[bytes, tuple[int, str]] = {}
    watermark = reader.fetch_watermark()
    if watermark is None:
        watermark = reader.fetch_value(
            "SELECT e.id FROM audit_log e WHERE EXISTS (SELECT 1 FROM audit_leaf l WHERE l.entry_id = e.id) "
            "ORDER BY e.id DESC LIMIT 1"
        )
    for entry, event_id, *columns in reader.stream_unplaced():
        if wanted and (found := hash_columns(columns)) in wanted:
            displaced[found] = entry, event_id
        elif entry <= (watermark or 0):
            message = f"entry {entry} ({event_id}) inserted: entries after it are sealed, it is not"
            report.add("inserted", message, entry=entry, event_id=event_id)
        else:
            if hash_columns(columns) is None:
                message = f"entry {entry} ({quote_value(event_id)}) holds a value that no entry was stored with"
                report.add("type", f"{message}: it cannot be sealed, nor what comes after it", entry=entry)
            report.add_pending(Waiting(entry, str(event_id), columns[TIME] if isinstance(columns[TIME], int) else 0))
    return displaced


def _report_strays(reader: LogReader, report: Report, wanted: set[bytes]) -> dict[bytes, tuple[int, str]]:
    """Report entries at places that the tree does not have; returns those with a wanted hash instead."""
    displaced: dict[bytes, tuple[int, str]] = {}
    for index, entry in reader.fetch_strays(report.size, report.pruned):
        stored = reader.fetch_entry(entry)
        found = hash_columns(stored) if stored else None
        if stored and found in wanted:
            displaced[found] = entry, quote_value(stored[FIELDS.index("event_id")]).strip('"')
        else:
            message = f"entry {entry} inserted: the tree has no place {index} for it"
            report.add("inserted", message, entry=entry)
    return displaced


def _find_sealed_places(reader: LogReader, suspects: Suspects) -> dict[bytes, int]:
    """Find where the hashes of the suspects' entries were sealed, for those that were."""
    wanted = {suspect.computed for suspect in suspects.first if suspect.computed}
    found: dict[bytes, int] = {}
    if not wanted:
        return found
    for number, data in reader.stream_tiles(0):
        for at in range(0, len(data), HASH_SIZE):
            if (node := data[at : at + HASH_SIZE]) in wanted:
                found[node] = (number << 8) + at // HASH_SIZE
    return found


class _Explainer:
    def __init__(
        self, reader: LogReader, report: Report, displaced: dict[bytes, tuple[int, str]], sealed_at: dict[bytes, int]
    ) -> None:
        self._reader = reader
        self._report = report
        self._displaced = displaced
        self._sealed_at = sealed_at
        self._values: dict[str, list[Any]] = {}
        self._tries = 0

    def explain(self, suspect: Suspect, *, sealed_elsewhere: bool) -> None:
        """Tell what became of one place."""
        index, row = suspect.index, suspect.row
        missing = row is None or row[2] is None
        lost = self._displaced.get(suspect.sealed or b"")
        moved = self._sealed_at.get(suspect.computed or b"")
        if missing and lost and row is not None:
            where = {"entry": lost[0], "event_id": lost[1], "index": index, "field": "id"}
            message = f"entry {lost[0]} ({lost[1]}) altered: id was {row[1]}"
            self._report.add("altered", message, **where, was=str(row[1]), now=str(lost[0]))
            return
        if moved is not None and row is not None:
            message = f"entry {_name_entry(row)} moved: it was sealed as number {moved} and stands as number {index}"
            self._report.add("moved", message, entry=row[2], event_id=row[FIRST_FIELD + 1], index=index)
        elif not missing and row is not None and (lost or sealed_elsewhere):
            message = f"entry {_name_entry(row)} inserted: number {index} is the place of another"
            self._report.add("inserted", message, entry=row[2], event_id=row[FIRST_FIELD + 1], index=index)
        elif not missing and row is not None:
            self._explain_altered(suspect, row)
            return
        if lost:
            message = f"entry {lost[0]} ({lost[1]}) moved: it lost its place, number {index}"
            self._report.add("moved", message, entry=lost[0], event_id=lost[1], index=index)
        elif not sealed_elsewhere:
            gone = row[1] if missing and row is not None else None
            name = f"entry {gone}" if gone is not None else "the entry"
            self._report.add("removed", f"{name} removed: number {index} of the log", entry=gone, index=index)
        elif missing:
            message = f"number {index} of the log names no entry; the one that was there stands elsewhere"
            self._report.add("moved", message, index=index)

    def _explain_altered(self, suspect: Suspect, row: Row) -> None:
        """Find the field by trying what it may have been until the sealed hash matches again."""
        where = {"entry": row[2], "event_id": quote_value(row[FIRST_FIELD + 1]).strip('"'), "index": suspect.index}
        columns = list(row[FIRST_FIELD:])
        for name, value in self._list_candidates(columns) if suspect.sealed else ():
            tried = list(columns)
            tried[FIELDS.index(name)] = value
            if hash_columns(tried) == suspect.sealed:
                was, now = quote_value(value), quote_value(columns[FIELDS.index(name)])
                message = f"entry {_name_entry(row)} altered: {name} was {was}, is {now}"
                self._report.add("altered", message, **where, field=name, was=was, now=now)
                return
        message = f"entry {_name_entry(row)} altered: in event_id, time, nonce or details, or in several fields"
        self._report.add("altered", message, **where)

    def _list_candidates(self, columns: list[Any]) -> Iterator[tuple[str, Any]]:
        """Yield every value that each column has anywhere in the log; columns with few values first."""
        for name in FIELDS:
            if name not in self._values:
                self._values[name] = [None, *self._reader.fetch_distinct(name, CANDIDATES)]
        for name in sorted(FIELDS, key=lambda name: len(self._values[name])):
            for value in self._values[name]:
                if self._tries == TRIES:
                    return
                self._tries += 1
                yield name, value
        yield from _list_times(columns)


def _list_times(columns: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield what the time may have been: an event's id is a UUIDv7, which begins with its milliseconds."""
    try:
        milliseconds = int(str(columns[FIELDS.index("event_id")]).replace("-", "")[:12], 16)
    except ValueError:
        return
    for microseconds in range((milliseconds - 2) * 1000, (milliseconds + 3) * 1000):
        yield "time", microseconds


def _name_entry(row: Row) -> str:
    return f"{row[2]} ({quote_value(row[FIRST_FIELD + 1]).strip(chr(34))})"
