"""The operation of an export, and what it exports: recorded before anything of the trail leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from flask import Flask, current_app

from yoq_audit.export import proofs
from yoq_audit.export.formats import FORMATS, FormatName
from yoq_audit.export.scan import Pages, Row, span
from yoq_audit.proofs import prover
from yoq_audit.query.filters import Selection
from yoq_audit.storage.tree import SignedTree
from yoq_web import Operation, Problem

audit_export = Operation(
    "audit_export", "Export the trail", "audit:read", details=("format", "with_proofs", "filters"), activity="read"
)


@dataclass(frozen=True)
class Export:
    """What is exported: the matching entries of the sealed log, its own one included, in the order of the log."""

    app: Flask
    selection: Selection
    format: FormatName
    with_proofs: bool
    sealed: SignedTree

    def pieces(self, progress: Callable[[int, int], None] | None = None) -> Iterator[bytes]:
        """The export in pieces, each read from the database when it is asked for, the first one at once.

        `progress` is told how many places were looked at, and of how many. Where a filter leaves much out, pieces may
        be empty.
        """
        first, end = span(self.app, self.selection, self.sealed.size)
        pages = Pages(self.app, self.selection).between(first, end)

        def told() -> Iterator[list[Row]]:
            for rows, done in pages:
                if progress:
                    progress(done - first, end - first)
                yield rows

        if self.with_proofs:
            yield from proofs.lines(self.app, chain.from_iterable(told()), self.sealed, self.selection.to_document())
            return
        form = FORMATS[self.format]
        yield form.head
        for rows in told():
            with self.app.app_context():
                piece = form.encode_entries(rows)
            yield piece


def begin(selection: Selection, format_name: FormatName, *, with_proofs: bool) -> Export:
    """Record the export, and then seal what was committed so far. Raises a 503 if that is not possible here."""
    if with_proofs and format_name != "ndjson":
        raise Problem(400, "invalid with_proofs", "only ndjson is exported with proofs")
    with audit_export.performed(format=format_name, with_proofs=with_proofs, filters=summary(selection)):
        pass
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # Flask's documented way
    return Export(app, selection, format_name, with_proofs, prover.sealed_now())


def summary(selection: Selection) -> list[str]:
    """The filters as an entry shows them: `actor=ci`, one text for each value."""
    found = []
    for name, given in selection.to_document().items():
        found += [f"{name}={value}" for value in (given if isinstance(given, list) else [given])]
    return found
