"""The tally: what was done to the program, what it acknowledged, and what of that did not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from faults.judge import Breach, Finding
from faults.load import Attempt

SHOWN = 5
"""Findings of a round that are printed whole."""


class Tally:
    """Counts of one round, or of all."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.breaches: Counter[Breach] = Counter()

    def add(self, strikes: int, history: Sequence[Attempt], findings: Sequence[Finding]) -> None:
        """Count one round."""
        self.counts["rounds"] += 1
        self.counts["faults injected"] += strikes
        self.counts["operations sent"] += len(history)
        for attempt in history:
            self.counts[_classify(attempt)] += 1
        self.breaches.update(finding.breach for finding in findings)

    def print(self) -> None:
        """Print all figures; breaches even where there are none."""
        for name in ("rounds", "faults injected", "operations sent", *CLASSES):
            print(f"  {name:18}{self.counts[name]:>9,}")
        for breach in get_args(Breach):
            print(f"  {breach:18}{self.breaches[breach]:>9,}")


CLASSES = ("acknowledged", "denied", "refused", "unanswered")


def _classify(attempt: Attempt) -> str:
    if attempt.acknowledged:
        return "acknowledged"
    if attempt.status is None:
        return "unanswered"
    return "denied" if attempt.status == 403 else "refused"
