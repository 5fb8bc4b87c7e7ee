"""The filters: which entries are meant. One table, of which the API, the commands, the SQL and the indexes are made.

Whoever adds a filter adds a row to FILTERS, and a migration that makes its index. Nothing else names the filters.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, ConfigDict, Field, conlist, create_model
from sqlalchemy import ColumnElement, Index, literal_column, or_, text

from yoq_audit.storage.models import ENTRIES
from yoq_web import Name, Outcome, dumps, parse_duration, parse_time

MOST_VALUES = 20
"""So many values of one filter may be given."""

RELATIVE = re.compile(r"\d{1,9}[smhdw]", re.ASCII)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the API and an option of the commands: what each says of it, and what it calls a value."""

    name: str
    description: str
    help: str
    metavar: str = "NAME"


@dataclass(frozen=True)
class Filter(Parameter):
    """A row of the table: entries by the values that they have in a column.

    `rank` says how soon its index is tried: filters of which a value selects little come first. With `prefixes` a value
    that ends with `*` means all that begin so. `unindexed` is a value that most entries have: they are not in the
    index. `type` is what a value must be, a Literal if there are only so many.
    """

    column: str = field(kw_only=True)
    rank: int = field(kw_only=True)
    prefixes: bool = False
    unindexed: str | None = None
    type: Any = Name

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that there are, if there are only so many."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    def match(
        self, values: Sequence[str], dialect: str, column: ColumnElement[Any] | None = None
    ) -> ColumnElement[bool]:
        """Make the condition that the column, or what stands for it in the statement, has one of the values."""
        column = ENTRIES.c[self.column] if column is None else column
        prefixes = [value for value in values if self.prefixes and value.endswith("*")]
        exact = [value for value in values if value not in prefixes]
        conditions = [match_prefix(column, prefix[:-1], dialect) for prefix in prefixes]
        if exact:
            conditions.append(column == exact[0] if len(exact) == 1 else column.in_(exact))
        found = or_(*conditions)
        # A partial index is used where its condition can be proved, which no database does for a parameter.
        return found & _differ(column, self.unindexed) if self.unindexed and self.has_index(values) else found

    def has_index(self, values: Sequence[str]) -> bool:
        """Tell whether every entry with one of the values is in the index."""
        return self.unindexed not in values

    def keeps_order(self, values: Sequence[str], dialect: str) -> bool:
        """Tell whether the index has the entries of each value in the order of ids, and can be asked for them so."""
        # On PostgreSQL prefixes are in the order of bytes, in which equal texts cannot be asked for.
        return not self.prefixes or (dialect == "sqlite" and not any(value.endswith("*") for value in values))

    def match_indexed(self) -> ColumnElement[bool] | None:
        """Make the condition that an entry is in the index; None if all are."""
        column = ENTRIES.c[self.column]
        if self.unindexed:
            return _differ(column, self.unindexed)
        return column.is_not(None) if column.nullable else None

    def make_index(self) -> Index:
        """Declare the index in the table: by the column, and by ids among equal ones."""
        column = ENTRIES.c[self.column]
        rows = f"{self.column} <> '{self.unindexed}'" if self.unindexed else f"{self.column} IS NOT NULL"
        where = text(rows) if self.unindexed or column.nullable else None
        return Index(
            f"ix_audit_log_{self.column}",
            column,
            ENTRIES.c.id,
            sqlite_where=where,
            postgresql_where=where,
            # Prefixes are compared byte by byte, whatever the database's collation.
            postgresql_ops={self.column: "text_pattern_ops"} if self.prefixes else {},
        )


FILTERS = (
    Filter("actor", "Who acted: an actor's label", "By this actor; several for any of them.", column="actor", rank=4),
    Filter("action", "What was done, as `secret_set`", "This action, as secret_set.", column="action", rank=6),
    Filter(
        "target",
        "To what; with a `*` at the end, whatever begins so",
        "On this target; NAME* for any that begins so.",
        column="target",
        rank=2,
        prefixes=True,
    ),
    Filter("outcome", "How it ended", "With this outcome.", column="outcome", rank=3, unindexed="ok", type=Outcome),
    Filter("node", "On which node", "On this node.", column="node", rank=5),
    Filter("request_id", "In which request", "In this request.", "ID", column="request_id", rank=1),
)
"""In the order in which the API and the commands show them."""

TIMES = (
    Parameter(
        "since",
        "Not before this time: RFC 3339, or relative to now as `30m`, `2h`, `7d`",
        "Not before: 30m, 2h, 7d, or as 2026-11-24T10:00:00Z.",
        "TIME",
    ),
    Parameter("until", "Before this time, written as `since`", "Before this time.", "TIME"),
)

PARAMETERS: tuple[Parameter, ...] = (*FILTERS, *TIMES)

INDEXES = [row.make_index() for row in FILTERS]

DIGESTED = ("actor", "action", "target", "outcome", "node", "request_id")
"""Which filters have a place of their own in a digest, given or not. It stays as it is, for the cursors given out."""


def resolve_time(given: str, now: int | None = None) -> int:
    """Read a time as microseconds since 1970: RFC 3339, or so long before `now` (microseconds), as `2h` or `7d`.

    Raises ValueError for anything else.
    """
    if RELATIVE.fullmatch(given):
        now = time.time_ns() // 1000 if now is None else now
        return max(0, now - parse_duration(given, "smhdw") * 1_000_000)
    with suppress(ValueError):
        # In a query, a plus sign that was not escaped arrives as a space.
        return max(0, parse_time(given.replace(" ", "+")))
    raise ValueError("neither RFC 3339, as 2026-11-24T10:00:00Z, nor relative to now, as 30m, 2h or 7d")


def _check_time(given: str) -> str:
    resolve_time(given)
    return given


Time = Annotated[str, Field(max_length=40), AfterValidator(_check_time)]

_FIELDS: dict[str, Any] = {
    row.name: (conlist(row.type, max_length=MOST_VALUES), Field(default=[], description=row.description))
    for row in FILTERS
} | {one.name: (Time | None, Field(default=None, description=one.description)) for one in TIMES}


class FilterQuery(create_model("Parameters", **_FIELDS)):  # type: ignore[misc]  # mypy cannot see what a table makes
    """The filters as parameters. One given several times means any of its values."""

    model_config = ConfigDict(extra="forbid")

    def resolve(self, now: int | None = None) -> Selection:
        """Return what is selected, with times relative to `now` made absolute."""
        values = {row: tuple(dict.fromkeys(getattr(self, row.name))) for row in FILTERS}
        texts: tuple[str | None, str | None] = (self.since, self.until)
        since, until = (None if given is None else resolve_time(given, now) for given in texts)
        return Selection({row: found for row, found in values.items() if found}, since, until, texts)


@dataclass(frozen=True)
class Selection:
    """Which entries are meant: for each filter that is given any of its values; times in microseconds since 1970.

    `since` is the first moment, `until` the first no more. `texts` are both as they were given: a cursor belongs to
    `since=2h` as it stands, whatever moment that was.
    """

    given: Mapping[Filter, tuple[str, ...]] = field(default_factory=dict)
    since: int | None = None
    until: int | None = None
    texts: tuple[str | None, str | None] = (None, None)

    @property
    def timed(self) -> bool:
        """Whether a time is given."""
        return self.since is not None or self.until is not None

    def replace_times(self, since: int | None, until: int | None) -> Selection:
        """Return the same with these times, as they were resolved before."""
        return replace(self, since=since, until=until)

    def digest(self) -> str:
        """Make a text that is the same for two requests with the same filters, whenever they were made."""
        values = {row.name: sorted(found) for row, found in self.given.items()}
        parts = [[values.pop(name, []) for name in DIGESTED], self.texts, *sorted(values.items())]
        return hashlib.sha256(dumps(parts).encode()).hexdigest()[:16]

    def to_document(self) -> dict[str, Any]:
        """Return the filters that were given, for the record of a reading in bulk."""
        values = {row.name: list(found) for row, found in self.given.items()}
        times = dict(zip((one.name for one in TIMES), self.texts, strict=True))
        return values | {name: given for name, given in times.items() if given is not None}

    def match(self, dialect: str) -> list[ColumnElement[bool]]:
        """Make what an entry must fulfil, for the SQL of this dialect."""
        found = [row.match(values, dialect) for row, values in self.given.items()]
        if self.since is not None:
            found.append(ENTRIES.c.time >= self.since)
        if self.until is not None:
            found.append(ENTRIES.c.time < self.until)
        return found


def match_prefix(column: ColumnElement[Any], prefix: str, dialect: str) -> ColumnElement[bool]:
    """Make the condition that a text begins so. Compared by bytes, whatever the database's collation, as the index."""
    end = find_successor(prefix)
    if dialect == "sqlite":
        begins: ColumnElement[bool] = column >= prefix
        return begins if end is None else begins & (column < end)
    begins = column.op("~>=~", is_comparison=True)(prefix)
    return begins if end is None else begins & column.op("~<~", is_comparison=True)(end)


def find_successor(prefix: str) -> str | None:
    """Find the first text, in the order of UTF-8's bytes, behind all that begin with `prefix`; None for no end."""
    while prefix:
        last = ord(prefix[-1]) + 1
        if last <= 0x10FFFF:
            # Surrogates are no characters: after U+D7FF comes U+E000.
            return prefix[:-1] + chr(0xE000 if last == 0xD800 else last)
        prefix = prefix[:-1]
    return None


def _differ(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """Make the condition that a column has another value, in the words by which databases know a partial index."""
    return literal_column(f"{column} <> '{value}'")
