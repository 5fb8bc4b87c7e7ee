"""The operations by which the trail leaves: recorded before anything of it does. What is exported, and who follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from yoq_audit.export import proofs
from yoq_audit.export.formats import FORMATS, FormatName
from yoq_audit.export.gaps import OtherLog
from yoq_audit.export.sealed_log import Piece, Scan, SealedLog, current_sealed_log
from yoq_audit.proofs import prover
from yoq_audit.query.filters import Selection
from yoq_audit.storage.tree import SignedTree
from yoq_web import NotFound, Operation, Problem

audit_export = Operation(
    "audit_export", "Export the trail", "audit:read", details=("format", "with_proofs", "filters"), activity="read"
)
audit_follow = Operation(
    "audit_follow", "Follow the trail", "audit:read", details=("start", "filters"), activity="read"
)


@dataclass(frozen=True)
class Export:
    """What is exported: the selected entries of the sealed log, its own one included, in the order of the log."""

    log: SealedLog
    selection: Selection
    format: FormatName
    with_proofs: bool
    tree: SignedTree

    def write(self, progress: Callable[[int, int], None] | None = None) -> Iterator[bytes]:
        """Write the export in pieces, each read from the database when it is asked for, the first one at once.

        `progress` is told how many places were looked at, and of how many. Where a filter leaves much out, pieces may
        be empty.
        """
        pages = self._read_pages(progress)
        if self.with_proofs:
            # Its proofs say which places it has.
            rows = chain.from_iterable(piece.rows for piece in pages)
            yield from proofs.write(self.log, rows, self.tree, self.selection.to_document())
            return
        form = FORMATS[self.format]
        yield form.head
        for piece in pages:
            with self.log.app.app_context():
                encoded = form.encode_entries(piece.rows)
            yield form.encode_gap(piece.gap) + encoded if piece.gap else encoded

    def _read_pages(self, progress: Callable[[int, int], None] | None) -> Iterator[Piece]:
        first, end = self.log.find_span(self.selection, self.tree.size)
        for piece in Scan(self.log, self.selection).read_pages(first, end):
            if progress:
                progress(piece.place - first, end - first)
            yield piece


class Follower:
    """One who follows the trail. `place` is the next one to look at: whatever is before it was given out.

    `gap` says that it is not the log that was read before.
    """

    def __init__(self, log: SealedLog, selection: Selection, place: int, gap: OtherLog | None = None) -> None:
        self._scan = Scan(log, selection)
        self.place = place
        self.gap = gap

    def read_new(self, size: int) -> Iterator[Piece]:
        """Read the selected entries that are new in a log of this size, page by page, in order; some are empty."""
        for piece in self._scan.read_pages(self.place, size):
            self.place = piece.place
            yield piece


def begin_export(selection: Selection, format_name: FormatName, *, with_proofs: bool) -> Export:
    """Record the export, and then seal what was committed so far. Raises a 503 if that is not possible here."""
    if with_proofs and format_name != "ndjson":
        raise Problem(400, "invalid with_proofs", "only ndjson is exported with proofs")
    with audit_export.performed(format=format_name, with_proofs=with_proofs, filters=_summarize(selection)):
        pass
    return Export(current_sealed_log(), selection, format_name, with_proofs, prover.seal_now())


def begin_following(selection: Selection, start: int | None, known_log: str = "") -> Follower:
    """Record that the trail is followed, and say from where on.

    That is the place `start`, without one the first entry of `since`, else the next entry. Where `known_log`, the id
    of the log that was read before, is another log's it is the beginning. Raises a Problem for a place that the log
    does not have yet, or if it cannot be sealed.
    """
    log = current_sealed_log()
    before = _seal_all()
    gap = None
    if known_log and (now := log.find_id()) != known_log:
        gap, start = OtherLog(now, known_log), 0
    if start is not None and start > before:
        raise Problem(400, "invalid start", f"the log has {before} sealed entries")
    with audit_follow.performed(start=start, filters=_summarize(selection)):
        pass
    if start is None:
        start = log.find_span(selection, before)[0] if selection.since is not None else before
    return Follower(log, selection, start, gap)


def _seal_all() -> int:
    try:
        return prover.seal_now().size
    except NotFound:  # the log begins with the entry that says that it is followed
        return 0


def _summarize(selection: Selection) -> list[str]:
    """Write the filters as an entry shows them: `actor=ci`, one text for each value."""
    found = []
    for name, given in selection.to_document().items():
        found += [f"{name}={value}" for value in (given if isinstance(given, list) else [given])]
    return found
