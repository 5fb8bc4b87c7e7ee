"""A machine's clock that shows another time: what is done under it is recorded, sealed and judged by that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

HOUR = 3600
DAY = 24 * HOUR
YEAR = 365 * DAY


@contextmanager
def clock_moved(seconds: float) -> Iterator[None]:
    """Have the wall clock show so many seconds more than it does, or less; the monotonic one is as it is."""
    now, now_ns = time.time, time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + seconds)
        patch.setattr(time, "time_ns", lambda: now_ns() + int(seconds * 1e9))
        yield
