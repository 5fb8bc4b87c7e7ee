"""Rows: what a benchmark found, as ratios within one run, and the table of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """The ratios of one kind of work, one of each round, and what they should be: `>= 0.9`."""

    work: str
    ratios: Sequence[float]
    goal: str = ""

    @property
    def median(self) -> float:
        """What counts: half of the rounds were better."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the goal is reached, if there is one."""
        kind, _, number = self.goal.partition(" ")
        return not kind or (self.median >= float(number) if kind == ">=" else self.median <= float(number))


def show(rows: Iterable[Row]) -> str:
    """Write the table as Markdown: median and spread of the rounds beside the goal."""
    lines = ["| work | median | spread | goal | |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        spread = f"{min(row.ratios):.2f} to {max(row.ratios):.2f}" if len(row.ratios) > 1 else ""
        goal = row.goal.replace(">=", "≥").replace("<=", "≤")
        mark = "" if not row.goal else "met" if row.met else "missed"
        lines.append(f"| {row.work} | {row.median:.2f} | {spread} | {goal} | {mark} |")
    return "\n".join(lines)
