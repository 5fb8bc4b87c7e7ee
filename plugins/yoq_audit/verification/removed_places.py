"""Removed places: the log's places that may be empty, as sealed entries announce, signed with the log's key.

The tables of retention are not believed. What they say beyond the announcements is told as a finding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from yoq_audit.sealing.removal import Pruning, is_signed, parse_removal
from yoq_audit.storage.models import ANNOUNCING
from yoq_audit.tlog.note import Verifier
from yoq_audit.verification.reader import LogReader
from yoq_audit.verification.report import Report

ANNOUNCED = (
    "SELECT e.id, e.event_id, e.action, e.target, e.details, l.leaf_index "  # noqa: S608 - our own names
    "FROM audit_log e JOIN audit_leaf l ON l.entry_id = e.id "
    f"WHERE e.{ANNOUNCING} AND e.outcome = 'ok' AND l.leaf_index < ? ORDER BY e.id"
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


def find_removed_places(reader: LogReader, report: Report, keys: Iterable[Verifier], size: int) -> RemovedPlaces:
    """Find what a log of this size announces. Reports announcements and table rows that are not to be believed."""
    known = tuple(keys)
    minimum, erased = 0, set[int]()
    for entry, event_id, action, target, details, index in reader.fetch_all(ANNOUNCED, size):
        parsed = parse_removal(action, target, details)
        if parsed is None or not is_signed(*parsed, known):
            message = f"entry {entry} ({event_id}) announces {action}, but the log's key did not sign that"
            report.add("retention", message, entry=entry, event_id=event_id, index=index)
        elif isinstance(parsed[0], Pruning):
            minimum = max(minimum, min(parsed[0].minimum, index))
        else:
            erased.update(place for place in parsed[0].places if place < index)
    raised = reader.fetch_value("SELECT max(minimum) FROM audit_minimum") or 0
    if raised > minimum:
        message = f"the minimum index is {raised}, but entries announce {minimum or 'none'}"
        report.add("retention", message, was=str(minimum), now=str(raised))
    for index, event_id in reader.fetch_all(
        "SELECT leaf_index, event_id FROM audit_erased WHERE leaf_index >= ?", minimum
    ):
        if index not in erased:
            message = f"number {index} of the log is marked as erased, but no entry announces it"
            report.add("retention", message, event_id=event_id, index=index)
    return RemovedPlaces(minimum, frozenset(erased))
