"""What a filter is: the condition that it makes in SQL, and what is known of its index."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin

from sqlalchemy import ColumnElement, Index, Text, and_, case, cast, func, literal, literal_column, not_, or_, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from yoq_audit.query import networks
from yoq_audit.storage.models import ENTRIES
from yoq_web import Name, dumps

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class Parameter:
    """A parameter of the API and an option of the commands: what each says of it, and what it calls a value."""

    name: str
    description: str
    help: str
    metavar: str = "NAME"
    several: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class Filter(Parameter):
    """A row of the table: entries by the values that they have in a column, or with `negated` by those they have not.

    `rank` says how soon its index is tried: filters of which a value selects little come first. With `prefixes` a value
    that ends with `*` means all that begin so. `unindexed` is a value that most entries have: they are not in the
    index. `type` is what a value must be, a Literal if there are only so many.
    """

    column: str = field(kw_only=True)
    rank: int = field(kw_only=True)
    prefixes: bool = False
    unindexed: str | None = None
    type: Any = Name
    negated: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that there are, if there are only so many."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    def negate(self) -> Filter:
        """Return the filter for the entries that this one leaves out."""
        # Few filters leave much out when they are turned round: their index is tried last.
        return replace(self, name=f"{self.name}!", rank=self.rank + 100, negated=True)

    def match(self, values: Sequence[str], dialect: str, column: ColumnElement[Any] | None = None) -> Condition:
        """Make the condition that the column, or what stands for it in the statement, has one of the values.

        Of a negated filter: that it has none of them, which an entry without any value has neither.
        """
        column = ENTRIES.c[self.column] if column is None else column
        if self.negated:
            return self._differ_from(values, dialect, column)
        found = or_(*self._match_each(values, dialect, column))
        # A partial index is used where its condition can be proved, which no database does for a parameter.
        return found & _differ(column, self.unindexed) if self.unindexed and self.has_index(values) else found

    def has_index(self, values: Sequence[str]) -> bool:
        """Tell whether every entry that is meant is in the index."""
        if self.negated:
            return not ENTRIES.c[self.column].nullable and (self.unindexed is None or self.unindexed in values)
        return self.unindexed not in values

    def keeps_order(self, values: Sequence[str], dialect: str) -> bool:
        """Tell whether the index has the entries of each value in the order of ids, and can be asked for them so."""
        # On PostgreSQL prefixes are in the order of bytes, in which equal texts cannot be asked for.
        ordered = not self.prefixes or (dialect == "sqlite" and not any(self.is_prefix(value) for value in values))
        return ordered and not self.negated

    def split(self, values: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Split the values into those that are looked up apart: together they select what all of them do."""
        return [values] if self.negated else [(value,) for value in values]

    def is_prefix(self, value: str) -> bool:
        """Tell whether a value stands for all that begin so."""
        return self.prefixes and value.endswith("*")

    def match_indexed(self) -> Condition | None:
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

    def _match_each(self, values: Sequence[str], dialect: str, column: ColumnElement[Any]) -> list[Condition]:
        prefixes = [value for value in values if self.is_prefix(value)]
        found = [match_prefix(column, prefix[:-1], dialect) for prefix in prefixes]
        return found + match_exact(column, [value for value in values if value not in prefixes])

    def _differ_from(self, values: Sequence[str], dialect: str, column: ColumnElement[Any]) -> Condition:
        if ENTRIES.c[self.column].nullable:
            return or_(column.is_(None), not_(or_(*self._match_each(values, dialect, column))))
        # Said by ranges, in which an index can be asked for them.
        return and_(
            *(
                _differ(column, value) if value == self.unindexed else or_(column < value, column > value)
                for value in values
            )
        )


@dataclass(frozen=True)
class PeerFilter(Filter):
    """Entries by the address that they came from: one address, or any of a network."""

    def is_prefix(self, value: str) -> bool:
        """Tell whether a value stands for several peers: a network, and an address that is counted with others."""
        return ":" in value or "/" in value

    def _match_each(self, values: Sequence[str], dialect: str, column: ColumnElement[Any]) -> list[Condition]:
        names: list[str] = []
        found = []
        for value in values:
            network = networks.read_network(value)
            if network is None or networks.is_address(network):
                names += networks.list_names(value)
            else:
                within = networks.match_network(column, network, dialect)
                # Which an index serves, if only as far as that goes.
                found.append(match_prefix(column, networks.find_prefix(network), dialect) & within)
        return found + match_exact(column, names)


KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
"""The name of a detail, or the path to a member of one."""


@dataclass(frozen=True)
class DetailFilter(Filter):
    """Entries by one of their details: its value, or one of its values if it is a list. There is no index for them."""

    @classmethod
    def of(cls, key: str) -> DetailFilter:
        """Make the filter for a detail. Raises ValueError for what cannot be the name of one."""
        if len(key) > 128 or not KEY.fullmatch(key):
            raise ValueError("a detail has a name of letters, digits and underscores")
        return cls(f"details.{key}", "", "", column="details", rank=1000)

    def has_index(self, _values: Sequence[str]) -> bool:
        """Tell that no index has them."""
        return False

    def match(self, values: Sequence[str], dialect: str, column: ColumnElement[Any] | None = None) -> Condition:
        """Make the condition that the detail is one of the values, or a list that has one; negated, that it is not."""
        column = ENTRIES.c[self.column] if column is None else column
        path = self.name.removesuffix("!").split(".")[1:]
        found = self._read(path, column, dialect)
        find = func.instr if dialect == "sqlite" else func.strpos
        # Whether one value or a list of them, between commas; within a text there is no quote that is not escaped.
        listed = literal(",") + func.trim(found, "[]") + literal(",")
        matched = or_(*(find(listed, f",{form},") > 0 for value in values for form in _write_json(value)))
        return func.coalesce(matched, literal_column("FALSE")).is_(literal_column(str(not self.negated).upper()))

    def _read(self, path: list[str], column: ColumnElement[Any], dialect: str) -> ColumnElement[str]:
        """Make the JSON of a detail as text, NULL where there is none. Only what bears its name is read as JSON."""
        member = f"{dumps(path[0])}:"
        if dialect == "sqlite":
            found = column.op("->")(literal(f"$.{'.'.join(path)}"))
            return case((and_(func.instr(column, member) > 0, func.json_valid(column) == 1), found))
        members = literal("{" + ",".join(path) + "}", Text)
        return case(
            (func.strpos(column, member) > 0, cast(cast(column, JSON).op("#>")(cast(members, ARRAY(Text))), Text))
        )


def _write_json(value: str) -> list[str]:
    """Write a value as it may be stored: as a text, and where it is a number or another word of JSON as that."""
    with suppress(ValueError):
        if not isinstance(json.loads(value), str | list | dict):
            return [dumps(value), value]
    return [dumps(value)]


def match_exact(column: ColumnElement[Any], values: Sequence[str]) -> list[Condition]:
    """Make the condition that a text is one of these; none if there are none."""
    if not values:
        return []
    return [column == values[0] if len(values) == 1 else column.in_(values)]


def match_prefix(column: ColumnElement[Any], prefix: str, dialect: str) -> Condition:
    """Make the condition that a text begins so. Compared by bytes, whatever the database's collation, as the index."""
    end = find_successor(prefix)
    if dialect == "sqlite":
        begins: Condition = column >= prefix
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


def _differ(column: ColumnElement[Any], value: str) -> Condition:
    """Make the condition that a column has another value, in the words by which databases know a partial index."""
    return literal_column(f"{column} <> '{value}'")
