"""The table of floors, as the test that holds them has it."""

from __future__ import annotations

from docs.generator.blocks import code, make_table
from tests.test_floors import AUDIT, CORE


def write_floors() -> str:
    """Write the core's floors and the audit plugin's, the highest first."""
    parts = []
    for title, floors in (("The core", CORE), ("The audit plugin", AUDIT)):
        rows = [(str(number), ", ".join(map(code, floor.split()))) for number, floor in enumerate(floors)]
        parts.append(f"**{title}**\n\n{make_table(('floor', 'modules and packages'), reversed(rows))}")
    return "\n".join(parts)
