"""Entries for people: local time with its zone, who, what, how it ended, from where, why, and a short id.

Where the output is no terminal, or is to be plain, entries are printed as yoq prints them: scripts read that.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from yoq_web import Failure, dumps, escape_text, format_local, format_offset, print_table

SHORT_ID = 13
"""So many characters of an event's id are shown: its time to the millisecond. `audit show` takes them."""

COLORS = {"ok": "green", "failed": "red", "denied": "yellow", "interrupted": "magenta", "started": "cyan"}

PLAIN = ("recorded_at", "actor", "action", "target", "outcome")
PLAIN_WIDTHS = (12, 16, 16, 28)

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: how wide it is where its entries are not known beforehand, and how narrow it may become.

    One with a `rank` is left out where there is no room, the highest first.
    """

    title: str
    make: Callable[[Document], str]
    width: int
    least: int
    rank: int = 0


def describe_who(entry: Document) -> str:
    """Write who acted: the label, and what kind of actor it was, or which user where the label says the kind."""
    details = entry["details"]
    kind = str(entry["actor_kind"])
    if entry["actor"] == kind:
        user = details.get("os_user") if isinstance(details, Mapping) and kind == "local" else None
        return f"{entry['actor']}: {user}" if user else str(entry["actor"])
    return f"{entry['actor']} ({kind})"


def _show(name: str) -> Callable[[Document], str]:
    return lambda entry: "-" if entry[name] is None else str(entry[name])


COLUMNS = (
    Column("TIME", lambda entry: format_local(entry["time"], format_offset()), 19, 19),
    Column("ACTOR", describe_who, 18, 10),
    Column("ACTION", _show("action"), 16, 12),
    Column("TARGET", _show("target"), 24, 12),
    Column("OUTCOME", _show("outcome"), 11, 7),
    Column("FROM", _show("peer"), 15, 9, rank=1),
    Column("REASON", _show("reason"), 24, 12, rank=2),
    Column("ID", lambda entry: str(entry["event_id"])[:SHORT_ID], SHORT_ID, SHORT_ID),
)

WIDE = (
    *COLUMNS[:-1],
    Column("REQUEST", _show("request_id"), 36, 36),
    Column("NODE", _show("node"), 12, 12),
    Column("ID", _show("event_id"), 36, 36),
    Column("DETAILS", lambda entry: dumps(entry["details"]), 24, 24),
)
"""With everything that an entry has, however wide that is."""


class EntryTable:
    """A table of entries as wide as the terminal, or with `wide` as wide as it takes.

    Its columns are as wide as the entries that are known when it is made need; without any as is usual.
    """

    def __init__(self, entries: Sequence[Document] = (), *, wide: bool = False) -> None:
        self._wide = wide
        self._columns = list(WIDE if wide else COLUMNS)
        self._widths = [
            max([len(_title(column)), *(len(escape_text(column.make(entry))) for entry in entries)])
            if entries
            else max(column.width, len(_title(column)))
            for column in self._columns
        ]
        if not wide:
            self._fit(shutil.get_terminal_size().columns)

    def _fit(self, room: int) -> None:
        """Leave columns out, and narrow the others, until the table fits, as far as that goes."""
        for rank in (2, 1):
            least = sum(min(column.least, width) + 1 for column, width in zip(self._columns, self._widths, strict=True))
            if least - 1 <= room:
                break
            kept = [at for at, column in enumerate(self._columns) if column.rank != rank]
            self._columns = [self._columns[at] for at in kept]
            self._widths = [self._widths[at] for at in kept]
        while sum(self._widths) + len(self._widths) - 1 > room:
            spare = [width - column.least for column, width in zip(self._columns, self._widths, strict=True)]
            if max(spare) <= 0:
                break
            self._widths[spare.index(max(spare))] -= 1

    def print_head(self) -> None:
        """Print the line that names the columns."""
        click.echo(self._make_line([_title(column) for column in self._columns]))

    def print_entries(self, entries: Iterable[Document]) -> None:
        """Print a line an entry; how it ended is coloured on a terminal."""
        for entry in entries:
            cells = [escape_text(column.make(entry)) for column in self._columns]
            click.echo(self._make_line(cells, COLORS.get(str(entry["outcome"]))), color=choose_color())

    def _make_line(self, cells: Sequence[str], color: str | None = None) -> str:
        padded = [
            f"{cell if self._wide or len(cell) <= width else f'{cell[: width - 1]}…':<{width}}"
            for cell, width in zip(cells, self._widths, strict=True)
        ]
        padded[-1] = padded[-1].rstrip()
        outcome = [column.title for column in self._columns].index("OUTCOME")
        if color:
            padded[outcome] = click.style(padded[outcome], fg=color)
        return " ".join(padded)


class PlainTable:
    """Yoq's table: five columns, times in seconds since 1970."""

    def print_head(self) -> None:
        """Print the line that names the columns."""
        print_table(PLAIN_WIDTHS, ("TIME", *(name.upper() for name in PLAIN[1:])), [])

    def print_entries(self, entries: Iterable[Document]) -> None:
        """Print a line an entry."""
        for entry in entries:
            print_table(PLAIN_WIDTHS, tuple(_show(name)(entry) for name in PLAIN), [])


def add_table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options `wide` and `plain`, for make_table()."""
    plain = click.option(
        "--plain",
        is_flag=True,
        help="yoq's table of five columns, times in seconds since 1970: what is printed where it is no terminal.",
    )
    wide = click.option(
        "--wide", is_flag=True, help="All that each entry has, in one line, also where it is no terminal."
    )
    decorated: Callable[..., Any] = wide(plain(command))
    return decorated


def make_table(entries: Sequence[Document] = (), *, wide: bool, plain: bool) -> EntryTable | PlainTable:
    """Make the table that is asked for, or that suits where the output goes. Raises a Failure for both at once."""
    if wide and plain:
        raise Failure("--plain has five columns, --wide has all: give one of them")
    return EntryTable(entries, wide=wide) if wide or (sys.stdout.isatty() and not plain) else PlainTable()


def _title(column: Column) -> str:
    return f"TIME ({format_offset()})" if column.title == "TIME" else column.title


def choose_color() -> bool | None:
    """Choose whether to colour: not where NO_COLOR is set; None leaves it to whether it is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
