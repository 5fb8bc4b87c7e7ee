"""Times as text: moments in microseconds since 1970 as RFC 3339, or for people; lengths of time as number and unit.

And whether the clock that shows them was moved.
"""

from __future__ import annotations

import functools
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""The units of lengths of time, in seconds."""

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def format_time(microseconds: int) -> str:
    """Write a moment as RFC 3339 in UTC, always with six digits of a second. Raises OverflowError beyond year 9999."""
    return f"{_format_second(microseconds // 1_000_000)}.{microseconds % 1_000_000:06d}Z"


@functools.lru_cache(maxsize=256)  # neighbours in the log happened in the same second or almost
def _format_second(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{_format_day(days)}T{hour:02d}:{minute:02d}:{second:02d}"


@functools.lru_cache(maxsize=64)
def _format_day(days: int) -> str:
    return (EPOCH + timedelta(days=days)).date().isoformat()


def parse_time(text: str) -> int:
    """Read RFC 3339, with any offset from UTC; further digits than six of a second are cut. Raises ValueError."""
    if RFC3339.fullmatch(text):
        with suppress(OverflowError):
            return (datetime.fromisoformat(text.upper()).astimezone(UTC) - EPOCH) // MICROSECOND
    raise ValueError(f"{text!r} is no RFC 3339 time")


def parse_duration(text: str, units: str) -> int:
    """Read a length of time as `12h`: at most nine digits, one of these units. Returns seconds, raises ValueError."""
    found = re.fullmatch(rf"([0-9]{{1,9}})([{units}])", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is no number and one of {', '.join(units)}")
    return int(found[1]) * SECONDS[found[2]]


def format_offset() -> str:
    """Write how far the machine's time zone is from UTC now, as `+01:00`."""
    return datetime.now().astimezone().isoformat()[-6:]


def format_local(moment: object, offset: str = "") -> str:
    """Write a moment, RFC 3339 or microseconds since 1970, in the machine's time zone.

    How far that was from UTC then is left out where it is `offset`. What nobody can have recorded is shown as it is.
    """
    with suppress(ValueError, OverflowError, OSError, TypeError):
        microseconds = parse_time(moment) if isinstance(moment, str) else int(moment)  # type: ignore[call-overload]
        text = (EPOCH + timedelta(microseconds=microseconds)).astimezone().isoformat(" ", "seconds")
        return text.removesuffix(offset) if offset else f"{text[:-6]} {text[-6:]}"
    return str(moment)


class ClockJumps:
    """Tells how far the machine's clock was moved, by what it shows beyond the monotonic one, which nobody sets."""

    def __init__(self) -> None:
        self._offset = _measure_offset()

    def measure(self) -> float:
        """Return by how many seconds the clock was moved since this was last asked, or made: less than 0 if back."""
        before, self._offset = self._offset, _measure_offset()
        return self._offset - before


def _measure_offset() -> float:
    return time.time() - time.monotonic()
