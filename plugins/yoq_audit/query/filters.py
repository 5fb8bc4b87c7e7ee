"""Which entries are meant: the filters as parameters of a request, as options of a command, and as SQL."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, FromClause, literal_column, or_

from yoq_audit.storage.models import ENTRIES
from yoq_web import Name, dumps, parse_duration, parse_time

Outcome = Literal["ok", "failed", "denied", "interrupted", "started"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
COLUMNS = ("actor", "action", "target", "outcome", "node", "request_id")
"""The columns that can be filtered by their values."""
MOST_VALUES = 20
"""So many values of one filter may be given."""

RELATIVE = re.compile(r"\d{1,9}[smhdw]", re.ASCII)


def moment(text: str, now: int | None = None) -> int:
    """A time in microseconds since 1970: RFC 3339, or so long before `now` (microseconds), as `2h` or `7d`.

    Raises ValueError for anything else.
    """
    if RELATIVE.fullmatch(text):
        now = time.time_ns() // 1000 if now is None else now
        return max(0, now - parse_duration(text, "smhdw") * 1_000_000)
    with suppress(ValueError):
        # In a query, a plus sign that was not escaped arrives as a space.
        return max(0, parse_time(text.replace(" ", "+")))
    raise ValueError("neither RFC 3339, as 2026-11-24T10:00:00Z, nor relative to now, as 30m, 2h or 7d")


def _is_moment(text: str) -> str:
    moment(text)
    return text


Moment = Annotated[str, Field(max_length=40), AfterValidator(_is_moment)]
Values = Annotated[list[Name], Field(max_length=MOST_VALUES)]


class FilterQuery(BaseModel):
    """The filters as parameters. One given several times means any of its values."""

    model_config = ConfigDict(extra="forbid")

    actor: Values = Field(default=[], description="Who acted: an actor's label")
    action: Values = Field(default=[], description="What was done, as `secret_set`")
    target: Values = Field(default=[], description="To what; with a `*` at the end, whatever begins so")
    outcome: Annotated[list[Outcome], Field(max_length=MOST_VALUES)] = Field(default=[], description="How it ended")
    node: Values = Field(default=[], description="On which node")
    request_id: Values = Field(default=[], description="In which request")
    since: Moment | None = Field(
        default=None, description="Not before this time: RFC 3339, or relative to now as `30m`, `2h`, `7d`"
    )
    until: Moment | None = Field(default=None, description="Before this time, written as `since`")

    def filters(self, now: int | None = None) -> Filters:
        """These filters, with times relative to `now` made absolute."""
        since = None if self.since is None else moment(self.since, now)
        until = None if self.until is None else moment(self.until, now)
        values = {name: tuple(dict.fromkeys(getattr(self, name))) for name in COLUMNS}
        return Filters(**values, since=since, until=until, texts=(self.since, self.until))


@dataclass(frozen=True)
class Filters:
    """Which entries are meant: for each column any of the values, none for all; times in microseconds since 1970.

    `since` is the first moment, `until` the first no more. `texts` are both as they were given: a cursor belongs to
    `since=2h` as it stands, whatever moment that was.
    """

    actor: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    texts: tuple[str | None, str | None] = (None, None)

    @property
    def timed(self) -> bool:
        """Whether they name a time."""
        return self.since is not None or self.until is not None

    def given(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The columns that are filtered by their values."""
        for name in COLUMNS:
            if values := getattr(self, name):
                yield name, values

    def at(self, since: int | None, until: int | None) -> Filters:
        """The same filters with these times, as they were resolved before."""
        return replace(self, since=since, until=until)

    def digest(self) -> str:
        """Tells whether two requests had the same filters, whenever they were made."""
        values = [sorted(getattr(self, name)) for name in COLUMNS]
        return hashlib.sha256(dumps([values, self.texts]).encode()).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """The filters that were given, for the record of a reading in bulk."""
        found: dict[str, Any] = {name: list(values) for name, values in self.given()}
        times = {"since": self.texts[0], "until": self.texts[1]}
        return found | {name: text for name, text in times.items() if text is not None}

    def conditions(self, dialect: str, table: FromClause = ENTRIES) -> list[ColumnElement[bool]]:
        """What a row of `table` must fulfil, for the SQL of this dialect."""
        found = [any_of(name, table.c[name], values, dialect) for name, values in self.given()]
        if self.since is not None:
            found.append(table.c.time >= self.since)
        if self.until is not None:
            found.append(table.c.time < self.until)
        return found


def any_of(name: str, column: ColumnElement[Any], values: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """That the column of this name has one of the values; of `target` they may be prefixes."""
    if name != "target":
        found = column == values[0] if len(values) == 1 else column.in_(values)
        # A partial index is used where its condition can be proved, which no database does for a parameter.
        return found & literal_column(f"{column} <> 'ok'") if name == "outcome" and "ok" not in values else found
    exact = [value for value in values if not value.endswith("*")]
    conditions = [starting(column, value[:-1], dialect) for value in values if value.endswith("*")]
    if exact:
        conditions.append(column == exact[0] if len(exact) == 1 else column.in_(exact))
    return or_(*conditions)


def starting(column: ColumnElement[Any], prefix: str, dialect: str) -> ColumnElement[bool]:
    """That a text begins so. Compared by bytes, whatever the database's collation, as the index is."""
    end = successor(prefix)
    if dialect == "sqlite":
        begins: ColumnElement[bool] = column >= prefix
        return begins if end is None else begins & (column < end)
    begins = column.op("~>=~", is_comparison=True)(prefix)
    return begins if end is None else begins & column.op("~<~", is_comparison=True)(end)


def successor(prefix: str) -> str | None:
    """The first text, in the order of UTF-8's bytes, behind all those that begin with `prefix`; None for no end."""
    while prefix:
        last = ord(prefix[-1]) + 1
        if last <= 0x10FFFF:
            # Surrogates are no characters: after U+D7FF comes U+E000.
            return prefix[:-1] + chr(0xE000 if last == 0xD800 else last)
        prefix = prefix[:-1]
    return None
