"""Times as they are asked for: RFC 3339, so long ago as `2h`, or as a person writes them: `yesterday`, `10:00`."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated

from pydantic import AfterValidator, Field

from yoq_web import parse_duration, parse_time

RELATIVE = re.compile(r"\d{1,9}[smhdw]", re.ASCII)

WRITTEN = re.compile(
    r"(?P<day>today|yesterday|\d{4}-\d\d-\d\d)?"
    r"(?:(?:(?<=.)[T ])?(?P<clock>\d\d:\d\d(?::\d\d)?)(?P<zone>Z| ?[+ -]\d\d:\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
"""A day, a time of day, or both, which may have its zone, as lists show it. In a query an unescaped plus is a space."""

FORMS = "write 2026-11-24T10:00:00Z, 2026-11-24, '2026-11-24 10:00', 10:00, today, yesterday, or 2h for two hours ago"


def resolve_time(given: str, now: int | None = None) -> int:
    """Read a time as microseconds since 1970: RFC 3339, or so long before `now` (microseconds), as `2h` or `7d`.

    Raises ValueError for anything else.
    """
    if RELATIVE.fullmatch(given):
        now = time.time_ns() // 1000 if now is None else now
        return max(0, now - parse_duration(given, "smhdw") * 1_000_000)
    # In a query, a plus sign that was not escaped arrives as a space.
    return max(0, parse_time(given.replace(" ", "+")))


def make_exact(given: str, zone: tzinfo | None = UTC, now: datetime | None = None) -> str:
    """Return a time that a person wrote as RFC 3339, and any other that can be meant as it is. Raises ValueError.

    A day is its beginning, a time of day without a day the last time that it was so late. Where none is written the
    zone is `zone`; with None it is the machine's.
    """
    with suppress(ValueError):
        resolve_time(given)
        return given
    found = WRITTEN.fullmatch(given)
    if not given or found is None:
        raise ValueError(FORMS)
    if found["zone"]:
        zone = datetime.fromisoformat(f"2000-01-01T00:00{found['zone'].upper()[-6:].replace(' ', '+')}").tzinfo
    try:
        return _read_written(found["day"] or "", found["clock"] or "00:00", zone, now or datetime.now(UTC))
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"there is no such day or time; {FORMS}") from None


def _read_written(day: str, clock: str, zone: tzinfo | None, now: datetime) -> str:
    today = now.astimezone(zone).date()
    named = {"": today, "today": today, "yesterday": today - timedelta(days=1)}.get(day.lower())
    found = _make_moment(named or date.fromisoformat(day), clock, zone)
    if not day and found > now:
        found = _make_moment(today - timedelta(days=1), clock, zone)
    return found.isoformat().replace("+00:00", "Z")


def _make_moment(day: date, clock: str, zone: tzinfo | None) -> datetime:
    moment = datetime.fromisoformat(f"{day.isoformat()}T{clock}")
    # Not a fixed distance from UTC, which may have been another on that day.
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


Time = Annotated[str, Field(max_length=40), AfterValidator(make_exact)]
