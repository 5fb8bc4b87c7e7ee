"""Gaps: what somebody who reads the log in its order does not get to see, told where it would have stood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pruned:
    """The places from `first` to `last` were pruned."""

    first: int
    last: int

    def to_document(self) -> dict[str, Any]:
        """Return it as it is told to programs."""
        return {"gap": "pruned", "from": self.first, "to": self.last}

    def __str__(self) -> str:
        return f"places {self.first} to {self.last} of the log were pruned"


@dataclass(frozen=True)
class OtherLog:
    """The log `log` is not the one from which the reader came, which was `before`: it begins anew."""

    log: str
    before: str

    def to_document(self) -> dict[str, Any]:
        """Return it as it is told to programs."""
        return {"gap": "other log", "log": self.log, "before": self.before}

    def __str__(self) -> str:
        return f"this log, {self.log}, is another than {self.before}, which was read before: it begins anew"


Gap = Pruned | OtherLog
