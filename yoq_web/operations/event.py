"""Event: one performance of an operation, before it is an entry of the trail, and as a JSON document."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from flask import has_request_context

from yoq_web.actors import Actor, current_actor
from yoq_web.app_local import ContextLocal
from yoq_web.logs import current_request_id
from yoq_web.operations.details import (
    CUT,
    DETAIL_BYTES,
    LATE,
    TARGET_BYTES,
    Detail,
    clean_detail,
    clean_details,
    clean_text,
    note_cut,
)
from yoq_web.operations.operation import Operation
from yoq_web.settings import current_settings

Outcome = Literal["ok", "failed", "denied", "interrupted", "started"]
"""`started` is an external operation's intent; one of the others follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One performance of an operation. `time` is in microseconds since 1970; `outcome` is None until it has ended.

    A `doubtful` one may be stored already with another outcome, which is the right one: an answer was lost.
    """

    id: str
    operation: Operation
    actor: Actor
    target: str | None
    details: Mapping[str, Detail] = field(default_factory=lambda: MappingProxyType({}))
    time: int
    request_id: str | None = None
    node: str
    peer: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    doubtful: bool = False

    def end(self, outcome: Outcome, reason: str | None = None, *, doubtful: bool = False) -> Event:
        """Return this event with its outcome, and why it ended so."""
        details = self.details
        if reason is not None:
            cut: list[str] = []
            reason = clean_text(reason, DETAIL_BYTES, "reason", cut)
            details = MappingProxyType(note_cut(details, cut)) if cut else details
        return self._change(details, outcome, reason, doubtful=doubtful)

    def add(self, details: Mapping[str, Detail]) -> Event:
        """Return this event with further details, which its operation declares. Raises TypeError for others."""
        if unknown := details.keys() - set(self.operation.details):
            raise TypeError(f"{self.operation.name} does not declare {', '.join(sorted(unknown))}")
        cut: list[str] = []
        kept = {name: clean_detail(value, name, cut) for name, value in details.items()}
        changed = MappingProxyType(note_cut({**self.details, **kept}, cut, kept))
        return self._change(changed, self.outcome, self.reason, doubtful=self.doubtful)

    def note_late(self) -> Event:
        """Return this event as one that is stored only now, some time after its deed."""
        details = MappingProxyType({**self.details, LATE: int(time.time())})
        return self._change(details, self.outcome, self.reason, doubtful=self.doubtful)

    def _change(
        self, details: Mapping[str, Detail], outcome: Outcome | None, reason: str | None, *, doubtful: bool
    ) -> Event:
        # Spelt out: dataclasses.replace() takes three times as long, on the path of every operation.
        return Event(
            id=self.id,
            operation=self.operation,
            actor=self.actor,
            target=self.target,
            details=details,
            time=self.time,
            request_id=self.request_id,
            node=self.node,
            peer=self.peer,
            outcome=outcome,
            reason=reason,
            doubtful=doubtful,
        )

    def to_document(self) -> dict[str, Any]:
        """Return this event as JSON knows it. Of the actor only kind and label stay; its details are the event's."""
        own = {name: getattr(self, name) for name in PLAIN}
        actor = {"kind": self.actor.kind, "label": self.actor.label}
        doubt = {"doubtful": True} if self.doubtful else {}
        return own | {"operation": self.operation.name, "actor": actor, "details": dict(self.details)} | doubt

    @classmethod
    def from_document(cls, document: Mapping[str, Any], operations: Mapping[str, Operation]) -> Event:
        """Read a document; its event's operation may be unknown by now. Raises ValueError and its like for nonsense."""
        name = document["operation"]
        details = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document["details"].items()
        }
        if document["outcome"] not in get_args(Outcome):
            raise ValueError(f"{document['outcome']!r} is no outcome")
        return cls(
            operation=operations.get(name) or Operation(name, "", "*"),
            actor=Actor(document["actor"]["kind"], document["actor"]["label"]),
            details=MappingProxyType(details),
            doubtful=document.get("doubtful") is True,
            **{key: document[key] for key in PLAIN},
        )


current_peer: ContextLocal[str | None] = ContextLocal("peer", None)
"""The address that a request came from."""

current_events: ContextLocal[tuple[Event, ...]] = ContextLocal("events", ())
"""What a request or command has done so far."""

PLAIN = ("id", "target", "time", "request_id", "node", "peer", "outcome", "reason")
"""The members of an event that are the same in JSON."""


def make_event(
    operation: Operation, target: str | None, details: Mapping[str, Detail], actor: Actor | None = None
) -> Event:
    """Make an Event that begins now, by the current actor, with the declared details and nothing else."""
    actor = actor or current_actor()
    cut: list[str] = []
    kept = clean_details(actor.details, cut) if actor.details else {}
    kept.update({name: clean_detail(details[name], name, cut) for name in operation.details if name in details})
    cleaned = None if target is None else clean_text(target, TARGET_BYTES, "target", cut)
    if cut:
        kept[CUT] = tuple(cut)
    now = time.time_ns()
    asked = has_request_context()
    return Event(
        id=make_uuid7(now),
        operation=operation,
        actor=actor,
        target=cleaned,
        details=MappingProxyType(kept),
        time=now // 1000,
        request_id=(current_request_id() or None) if asked else None,
        node=current_settings().node,
        peer=current_peer() if asked else None,
    )


def make_uuid7(time_ns: int) -> str:
    """Make a UUIDv7 (RFC 9562) for a time in nanoseconds since 1970: 48 bits of milliseconds, then random ones."""
    milliseconds = time_ns // 1_000_000
    random = int.from_bytes(os.urandom(10)) >> 6
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
