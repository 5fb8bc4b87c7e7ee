"""A copy of the audit plugin that is changed as a contributor would change it, and programs that run with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yoq_audit
from tests.conftest import ADMIN

ROOT = Path(__file__).parents[2]


def copy_audit(folder: Path) -> Path:
    """Copy the plugin as it is into a folder of its own."""
    copy = folder / "copy" / "yoq_audit"
    shutil.copytree(Path(yoq_audit.__file__).parent, copy)
    return copy


def add_row(file: Path, table: str, row: str) -> None:
    """Make `row` the first line of a table in the source."""
    before, opening, after = file.read_text().partition(f"\n{table} = ")
    assert opening
    bracket, after = after[:2], after[2:]
    file.write_text(f"{before}{opening}{bracket}{row}\n{after}")


def run_with_copy(copy: Path, function: Callable[[], None], **variables: str) -> None:
    """Call a function of a test module in a process in which this copy is the audit plugin."""
    call = f"from {function.__module__} import {function.__name__} as run; run()"
    call = f"import yoq_audit; assert yoq_audit.__file__.startswith({str(copy)!r}); {call}"
    settings = {"YOQ_DATA_DIR": str(copy.parent / "data"), "YOQ_API_TOKEN": ADMIN}
    path = os.pathsep.join(map(str, (copy.parent, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, "PYTHONPATH": path, **settings, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
