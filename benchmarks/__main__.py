"""`./run bench`: every benchmark, each as ratios within this run, so that the machine's speed cancels out; one table.

`./run bench verify reading` runs those of that name only.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import agents, backup, export, over_http, over_sqlite, reading, start, verify
from benchmarks.peers import comparing
from benchmarks.rows import Row, show

BENCHMARKS: dict[str, Callable[[Path], list[Row]]] = {
    "over_http": over_http.measure,
    "over_sqlite": over_sqlite.measure,
    "verify": verify.measure,
    "reading": reading.measure,
    "agents": agents.measure,
    "start": start.measure,
    "export": export.measure,
    "backup": backup.measure,
    "peers": comparing.measure,
}
USUAL = ("over_http", "over_sqlite", "verify", "reading", "agents", "start")
"""Those that run where none is named: the others take longest, or want to be installed."""


def main() -> None:
    """Run them one after the other."""
    chosen = sys.argv[1:] or USUAL
    if unknown := set(chosen) - set(BENCHMARKS):
        raise SystemExit(f"there is no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    for name in chosen:
        print(name)
        with tempfile.TemporaryDirectory(prefix="yoq-bench") as folder:
            rows += BENCHMARKS[name](Path(folder))
    print(f"\n{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}\n\n{show(rows)}")


if __name__ == "__main__":
    main()
