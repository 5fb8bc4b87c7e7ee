"""Libraries that are compiled here and preloaded into the program: what they spoil cannot be spoilt from outside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Library:
    """A C source, and the environment in which it does something, given the site's folder."""

    source: Path
    settings: Callable[[Path], Mapping[str, str]]


DISK = Library(
    Path(__file__).parents[1] / "tests" / "support" / "failing_disk.c",
    lambda folder: {"FAILING_FILE": f"{folder}/data/", "FAILING_WHILE": str(folder / "failing")},
)
THREADS = Library(
    Path(__file__).with_name("threads.c"), lambda folder: {"NO_THREADS_WHILE": str(folder / "no-threads")}
)
CLOCK = Library(Path(__file__).with_name("clock.c"), lambda folder: {"CLOCK_FILE": str(folder / "clock")})


def has_compiler() -> bool:
    """Tell whether libraries can be made here."""
    return shutil.which("cc") is not None


def preload(library: Library, folder: Path) -> dict[str, str]:
    """Compile a library into a site's folder; returns the environment that has processes load it."""
    made = folder / f"{library.source.stem}.so"
    compiling = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(made), str(library.source), "-ldl"]
    subprocess.run(compiling, check=True)
    return {"LD_PRELOAD": str(made), **library.settings(folder)}
