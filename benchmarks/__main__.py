"""`./run bench`: every benchmark, each a ratio within this run, so that the machine's speed cancels out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import over_http, over_sqlite, verify

BENCHMARKS: dict[str, Callable[[Path], float]] = {
    "audited / un-audited write over HTTP (goal 0.90)": over_http.measure,
    "our audited write / bare sqlite3 doing the same two writes": over_sqlite.measure,
    "`audit verify` of a million entries / hashing their leaves alone (goal 0.20)": verify.measure,
}


def main() -> None:
    """Run them one after the other."""
    for name, measure in BENCHMARKS.items():
        print(name)
        with tempfile.TemporaryDirectory(prefix="yoq-bench") as folder:
            print(f"  {measure(Path(folder)):.2f}")


if __name__ == "__main__":
    main()
