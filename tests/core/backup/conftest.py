"""PostgreSQL's programs, of the version of the tests' server, are in PATH as an operator would have them."""

from __future__ import annotations

import pytest

from tests.support.backup import use_postgres_programs
from tests.support.backup_schedule import Clock


@pytest.fixture(autouse=True)
def postgres_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put pg_dump and pg_restore into PATH."""
    use_postgres_programs(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    return Clock(monkeypatch)
