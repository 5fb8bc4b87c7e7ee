"""Removed places: the log's places that may be empty, as sealed entries announce, signed with the log's key.

The tables of retention are not believed. What they say beyond the announcements is told as a finding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from yoq_audit.sealing.removal import Pruning, is_signed, parse_removal
from yoq_audit.storage.models import ANNOUNCING
from yoq_audit.storage.tombstones import FINGERPRINT_SIZE, fingerprint
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tiles import TILE
from yoq_audit.verification.reader import LogReader
from yoq_audit.verification.report import Report, quote_value

ANNOUNCED = (
    "SELECT e.id, e.event_id, e.action, e.target, e.details, l.leaf_index "  # noqa: S608 - our own names
    "FROM audit_log e JOIN audit_leaf l ON l.entry_id = e.id "
    f"WHERE e.{ANNOUNCING} AND e.outcome = 'ok' AND l.leaf_index < ? ORDER BY e.id"
)

GONE = (
    "SELECT 1 FROM audit_leaf l WHERE l.leaf_index = ? "
    "AND NOT EXISTS (SELECT 1 FROM audit_log e WHERE e.id = l.entry_id)"
)
IMPOSSIBLE = (
    "SELECT number FROM audit_pruned WHERE length(events) <> ? OR first_time > last_time OR last_time >= ? "
    "ORDER BY number LIMIT 101"
)


@dataclass(frozen=True)
class RemovedPlaces:
    """The places that may be empty: all under `minimum`, and those of `erased`."""

    minimum: int = 0
    erased: frozenset[int] = frozenset()

    def __contains__(self, index: int) -> bool:
        return index < self.minimum or index in self.erased

    def list_within(self, first: int, width: int) -> Collection[int]:
        """Return the places from `first` on, at most `width`, that may be empty."""
        end = first + width
        pruned = range(first, max(first, min(end, self.minimum)))
        return {*pruned, *(index for index in self.erased if first <= index < end)} if self.erased else pruned


@dataclass
class Announced:
    """What entries announce that the log's key signed: minimums by event, erased places with event and announcer."""

    prunings: dict[str, Pruning] = field(default_factory=dict)
    erased: dict[int, set[tuple[str, str]]] = field(default_factory=dict)
    minimum: int = 0


def find_removed_places(reader: LogReader, report: Report, keys: Iterable[Verifier], size: int) -> RemovedPlaces:
    """Find what a log of this size announces. Reports announcements and table rows that are not to be believed."""
    announced = _read_announced(reader, report, tuple(keys), size)
    minimum = announced.minimum
    _check_minimums(reader, report, announced)
    _check_erased(reader, report, announced)
    _check_pruned(reader, report, minimum)
    return RemovedPlaces(minimum, frozenset(announced.erased))


def _read_announced(reader: LogReader, report: Report, known: tuple[Verifier, ...], size: int) -> Announced:
    found = Announced()
    for entry, event_id, action, target, details, index in reader.fetch_all(ANNOUNCED, size):
        parsed = parse_removal(action, target, details)
        if parsed is None or not is_signed(*parsed, known):
            message = f"entry {entry} ({event_id}) announces {action}, but the log's key did not sign that"
            report.add("retention", message, entry=entry, event_id=event_id, index=index)
        elif isinstance(parsed[0], Pruning):
            found.prunings[event_id] = parsed[0]
            found.minimum = max(found.minimum, min(parsed[0].minimum, index))
        else:
            for place in parsed[0].places:
                if place < index:
                    found.erased.setdefault(place, set()).add((parsed[0].event_id, event_id))
    return found


def _check_minimums(reader: LogReader, report: Report, announced: Announced) -> None:
    """Hold the largest minimum index against its announcement, which nothing can have pruned."""
    newest = "SELECT minimum, event_id, cutoff FROM audit_minimum ORDER BY minimum DESC LIMIT 1"
    for raised, event_id, cutoff in reader.fetch_all(newest):
        if raised > announced.minimum:
            message = f"the minimum index is {raised}, but entries announce {announced.minimum or 'none'}"
            report.add("retention", message, was=str(announced.minimum), now=str(raised))
        elif announced.prunings.get(event_id) != Pruning(raised, cutoff):
            message = f"the minimum index {raised} does not have the event and the cutoff that an entry announces"
            report.add("retention", message, event_id=quote_value(event_id).strip('"'), field="cutoff")


def _check_erased(reader: LogReader, report: Report, announced: Announced) -> None:
    """Hold every place that is marked as erased against its announcement, or what is kept of its pruned bundle."""
    marked = reader.fetch_all("SELECT leaf_index, event_id, announced_by FROM audit_erased")
    for index, event_id, announced_by in marked:
        if index in announced.erased:
            believed = (event_id, announced_by) in announced.erased[index]
        else:
            # The announcement may be pruned as well: then the bundle kept what tells the event again.
            believed = index < announced.minimum and _is_kept(reader, index, event_id)
        if not believed:
            message = f"number {index} of the log is marked as erased, but no entry announces it"
            report.add("retention", message, event_id=quote_value(event_id).strip('"'), index=index)
    for index in sorted(announced.erased.keys() - {row[0] for row in marked}):
        if index >= announced.minimum and reader.fetch_value(GONE, index):
            report.add("retention", f"number {index} of the log is erased, but not marked as erased", index=index)


def _is_kept(reader: LogReader, index: int, event_id: object) -> bool:
    """Tell whether a pruned bundle has this event at this place."""
    events = reader.fetch_value("SELECT events FROM audit_pruned WHERE number = ?", index // TILE)
    at = index % TILE * FINGERPRINT_SIZE
    kept = bytes(events)[at : at + FINGERPRINT_SIZE] if isinstance(events, (bytes, memoryview)) else b""
    return isinstance(event_id, str) and kept == fingerprint(event_id, "")


def _check_pruned(reader: LogReader, report: Report, minimum: int) -> None:
    """Hold what is kept of pruned bundles against the minimum index: each of the first ones, one after the other."""
    count, first, last = reader.fetch_all("SELECT count(*), min(number), max(number) FROM audit_pruned")[0]
    if count and (first, last) != (0, count - 1):
        report.add("retention", f"{count} bundles are marked as pruned, the first is {first}, the last {last}")
        return
    end = count * TILE
    raised, cutoff = reader.fetch_all("SELECT max(minimum), max(cutoff) FROM audit_minimum")[0]
    if end > min(minimum, raised or 0):
        message = f"bundles are marked as pruned up to the place {end}, but the minimum index is {raised or 'none'}"
        report.add(
            "retention", f"{message}, and entries announce {minimum or 'none'}", was=str(minimum), now=str(raised)
        )
        return
    if standing := reader.fetch_value("SELECT count(*) FROM audit_leaf WHERE leaf_index < ?", min(end, minimum)):
        report.add("retention", f"{standing} places stand in bundles that are marked as pruned")
    left = reader.fetch_value("SELECT count(*) FROM audit_leaf WHERE leaf_index >= ? AND leaf_index < ?", end, minimum)
    if end < minimum and left != minimum - end:
        report.add("retention", f"{minimum - end - left} places are pruned whose bundles are not marked as pruned")
    for (number,) in reader.fetch_all(IMPOSSIBLE, TILE * FINGERPRINT_SIZE, cutoff) if count else ():
        report.add("retention", f"what is kept of the pruned bundle {number} cannot be: its times or its length")
