"""How long commands take to start: the CPU of a whole process, beside one that only imports the libraries."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.rows import Row

ROUNDS = 9

PROGRAM = str(Path(sys.executable).with_name("yoq-web"))

WORK = (
    (("secret", "list"), "import flask, sqlalchemy", "<= 2"),
    (("audit", "list"), "import flask, sqlalchemy", ""),
    # Some 40 ms on a quiet machine, and help may take 150 ms longer.
    (("--help",), "import click", "<= 4"),
    (("--version",), "import click", "<= 4"),
)
"""A command line, what is measured beside it, and the goal."""


def measure(folder: Path) -> list[Row]:
    """Run each command and what it is compared with in turn, on a database that is ready."""
    environment = os.environ | {"YOQ_DATA_DIR": str(folder)}
    _run([PROGRAM, "db", "upgrade"], environment)
    rows = []
    for arguments, beside, goal in WORK:
        sides = [PROGRAM, *arguments], [sys.executable, "-c", beside]
        for side in sides:  # what is read from the disk the first time does not count
            _run(side, environment)
        ratios = [_run(sides[0], environment) / _run(sides[1], environment) for _ in range(ROUNDS)]
        rows.append(Row(f"`yoq-web {' '.join(arguments)}` / `python -c '{beside}'`", ratios, goal))
    return rows


def _run(command: list[str], environment: dict[str, str]) -> float:
    """Run a program to its end; returns the seconds of CPU that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
