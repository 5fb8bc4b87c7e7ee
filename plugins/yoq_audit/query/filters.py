"""The filters: which entries are meant. One table, of which the API, the commands, the SQL and the indexes are made.

Whoever adds a filter adds a row to FILTERS, and a migration that makes its index. Nothing else names the filters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    conlist,
    create_model,
    model_validator,
)
from sqlalchemy import ColumnElement

from yoq_audit.query.conditions import DetailFilter, Filter, Parameter, PeerFilter
from yoq_audit.query.networks import normalize_peer
from yoq_audit.query.times import Time, resolve_time
from yoq_audit.storage.models import ENTRIES
from yoq_web import ActorKind, Name, Outcome, Problem, dumps

MOST_VALUES = 20
"""So many values of one filter may be given."""

FILTERS = (
    Filter("actor", "Who acted: an actor's label", "By this actor; several for any of them.", column="actor", rank=4),
    Filter(
        "kind", "What kind of actor it was", "By an actor of this kind.", column="actor_kind", rank=7, type=ActorKind
    ),
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
    PeerFilter(
        "peer",
        "From where: an address, or a network as `192.0.2.0/24`",
        "From this address, or any of a network as 192.0.2.0/24.",
        "ADDRESS",
        column="peer",
        rank=3,
        prefixes=True,
        type=Annotated[Name, AfterValidator(normalize_peer)],
    ),
)
"""In the order in which the API and the commands show them."""

DETAILS = Parameter(
    "details",
    "With this detail, as `os_user=alice`, or with this value in a detail that is a list. May also be written as "
    "`details.os_user=alice`",
    "With this detail, as os_user=alice.",
    "NAME=VALUE",
)

NOT = Parameter(
    "not",
    "What another filter would show is left out, as `action=secret_list`. May also be written as `action!=secret_list`",
    "Without what another filter would show, as action=secret_list.",
    "FILTER=VALUE",
)

TIMES = (
    Parameter(
        "since",
        "Not before this time: RFC 3339, relative to now as `30m`, `2h`, `7d`, or as `yesterday`, `2026-11-24`, "
        "`10:00`, in UTC unless a time of day says otherwise (`10:00+01:00`)",
        "Not before: 30m, 2h, 7d, yesterday, 10:00, '2026-11-24 10:00', or as 2026-11-24T10:00:00Z.",
        "TIME",
        several=False,
    ),
    Parameter("until", "Before this time, written as `since`", "Before this time.", "TIME", several=False),
)

PARAMETERS: tuple[Parameter, ...] = (*FILTERS, DETAILS, NOT, *TIMES)

INDEXES = [row.make_index() for row in FILTERS]

DIGESTED = ("actor", "action", "target", "outcome", "node", "request_id")
"""Which filters have a place of their own in a digest, given or not. It stays as it is, for the cursors given out."""

_BY_NAME = {row.name: row for row in FILTERS}


def _read_detail(text: str) -> tuple[Filter, str]:
    key, _, value = text.partition("=")
    return DetailFilter.of(key), value


def _read_not(text: str) -> tuple[Filter, str]:
    name, _, value = text.partition("=")
    row = DetailFilter.of(name.removeprefix("details.")) if name.startswith("details.") else _BY_NAME.get(name)
    if row is None:
        raise ValueError(f"write it as action=secret_list, with one of: {', '.join(_BY_NAME)}, details.NAME")
    try:
        return row.negate(), TypeAdapter(row.type).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _unfold(name: str) -> tuple[str, str]:
    """Return the parameter that another spelling means, and what then stands before its values."""
    plain = name.removesuffix("!")
    detail = plain.startswith("details.")
    if plain != name and (detail or plain in _BY_NAME):
        return NOT.name, f"{plain}="
    return (DETAILS.name, f"{plain.removeprefix('details.')}=") if detail else (name, "")


def _check_detail(text: str) -> str:
    if "=" not in text:
        raise ValueError("write it as os_user=alice")
    _read_detail(text)
    return text


def _check_not(text: str) -> str:
    row, value = _read_not(text)
    return f"{row.name.removesuffix('!')}={value}"


_FIELDS: dict[str, Any] = {
    row.name: (conlist(row.type, max_length=MOST_VALUES), Field(default=[], description=row.description))
    for row in FILTERS
}
_FIELDS |= {
    one.name: (
        list[Annotated[Name, AfterValidator(check)]],
        Field(default=[], max_length=MOST_VALUES, description=one.description),
    )
    for one, check in ((DETAILS, _check_detail), (NOT, _check_not))
}
_FIELDS |= {one.name: (Time | None, Field(default=None, description=one.description)) for one in TIMES}


class FilterQuery(create_model("Parameters", **_FIELDS)):  # type: ignore[misc]  # mypy cannot see what a table makes
    """The filters as parameters. One given several times means any of its values."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def fold(cls, given: Any) -> Any:
        """Take `action!=x` and `details.y=z` for what they say: `not` with `action=x`, `details` with `y=z`."""
        if not isinstance(given, Mapping):
            return given
        folded: dict[str, Any] = {}
        for name, values in given.items():
            into, before = _unfold(name)
            listed = values if isinstance(values, list) else [values]
            meant = [f"{before}{value}" for value in listed] if before else values
            folded[into] = [*folded[into], *meant] if into in folded else meant
        return folded

    def resolve(self, now: int | None = None) -> Selection:
        """Return what is selected, with times relative to `now` made absolute. Raises a 400 for times without any."""
        values: dict[Filter, dict[str, None]] = {row: dict.fromkeys(getattr(self, row.name)) for row in FILTERS}
        for filter_, value in [*map(_read_detail, self.details), *map(_read_not, getattr(self, NOT.name))]:
            values.setdefault(filter_, {})[value] = None
        texts: tuple[str | None, str | None] = (self.since, self.until)
        since, until = (None if given is None else resolve_time(given, now) for given in texts)
        if since is not None and until is not None and since >= until:
            raise Problem(400, "since is not before until", "no entry can be at such a time")
        return Selection({row: tuple(found) for row, found in values.items() if found}, since, until, texts)


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
