"""`./run bench`: every benchmark, each a ratio within this run, so that the machine's speed cancels out.

`./run bench verify reading` runs those of that name only.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import agents, backup, export, over_http, over_sqlite, reading, verify
from benchmarks.peers import comparing

BENCHMARKS: dict[str, Callable[[Path], float]] = {
    "audited / un-audited write over HTTP (goal 0.90)": over_http.measure,
    "our audited write / bare sqlite3 doing the same two writes": over_sqlite.measure,
    "`audit verify` of a million entries / hashing their leaves alone (goal 0.20)": verify.measure,
    "a page of `GET /v1/audit` on a long trail / on a thousand entries, the worst query (goal 1.5)": reading.measure,
    "200 agents beating every 5 s: their heartbeats / those that the server can take (goal 0.25)": agents.measure,
    "an export of a million entries / reading them with the bare cursor (goal 0.33)": export.measure,
    "copying a database's file / backing it up encrypted": backup.taking,
    "copying a database's file / restoring it with every check": backup.restoring,
    "our audited write / django-auditlog's (goal 2)": comparing.measure,
}


def main() -> None:
    """Run them one after the other."""
    chosen = sys.argv[1:]
    for name, measure in BENCHMARKS.items():
        # The peers are installed only where they are asked for.
        if not set(measure.__module__.split(".")) & set(
            chosen or ("over_http", "over_sqlite", "verify", "reading", "agents")
        ):
            continue
        print(name)
        with tempfile.TemporaryDirectory(prefix="yoq-bench") as folder:
            print(f"  {measure(Path(folder)):.2f}")


if __name__ == "__main__":
    main()
