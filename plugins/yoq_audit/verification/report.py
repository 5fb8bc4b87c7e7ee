"""The report of a verification: each thing that does not hold, with its place, and how far the log was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from yoq_audit.sealing.overdue import Waiting
from yoq_audit.tlog.codec import encode_base64
from yoq_audit.tlog.hashes import EMPTY_ROOT

LIMIT = 100
"""So many findings are described; the others are counted."""

Kind = Literal[
    "altered",
    "removed",
    "inserted",
    "moved",
    "tile",
    "checkpoint",
    "key",
    "head",
    "cut off",
    "fork",
    "retention",
    "pending",
    "repeated",
    "schema",
    "type",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that does not hold. Members that do not apply are None."""

    kind: Kind
    message: str
    entry: int | None = None
    event_id: str | None = None
    index: int | None = None
    field: str | None = None
    was: str | None = None
    now: str | None = None
    size: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the members that apply."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class Report:
    """The outcome of a verification. `size` and `root` are those of the tree; `pending` entries are not sealed yet."""

    entries: int = 0
    size: int = 0
    root: bytes = EMPTY_ROOT
    pending: int = 0
    oldest_pending: Waiting | None = None
    spool: int = 0
    pruned: int = 0
    erased: int = 0
    """How many places are empty because sealed entries announced that."""
    unknown: list[str] = field(default_factory=list)
    """What could not be looked at, or cannot be known."""
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    """How many findings there are, with those that are not described."""

    @property
    def ok(self) -> bool:
        """Whether all holds."""
        return self.found == 0

    def add(self, kind: Kind, message: str, **where: Any) -> None:
        """Add a finding, or only count it if there are too many."""
        self.found += 1
        if len(self.findings) < LIMIT:
            self.findings.append(Finding(kind=kind, message=message, **where))

    def add_pending(self, entry: Waiting) -> None:
        """Count an entry that is not sealed yet."""
        self.pending += 1
        if self.oldest_pending is None or entry.time < self.oldest_pending.time:
            self.oldest_pending = entry

    def document(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "size": self.size,
            "root": encode_base64(self.root),
            "pending": self.pending,
            "oldest_pending_seconds": self.oldest_pending.age if self.oldest_pending else None,
            "spool": self.spool,
            "pruned": self.pruned,
            "erased": self.erased,
            "unknown": self.unknown,
            "findings": [finding.document() for finding in self.findings],
            "found": self.found,
        }


def quote_value(value: object) -> str:
    """Write a column's value for a message: short, in quotes, and whatever it holds, text that can be printed."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 200 else f"{text[:200]}…"
    text = text.encode(errors="backslashreplace").decode()
    return "null" if value is None else f'"{text}"' if isinstance(value, str) else text
