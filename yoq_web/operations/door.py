"""Operation, Event and performed(): the one door through which every sensitive action passes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from flask import g, has_request_context
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from yoq_web.actors import Actor, current_actor
from yoq_web.database.session import unit_of_work
from yoq_web.hookspecs import Veto
from yoq_web.operations import recording
from yoq_web.operations.identifiers import uuid7
from yoq_web.problems import Denied, NotFound, Problem
from yoq_web.scopes import is_scope
from yoq_web.state import state

if TYPE_CHECKING:
    from yoq_web.operations.external import Undertaking

Outcome = Literal["ok", "failed", "denied", "interrupted", "started"]
"""`started` is an external operation's intent; one of the others follows."""
Detail = str | int | bool | Sequence[str] | None

TARGET_BYTES = 256
"""Longer targets are cut in the trail (yoq's limit)."""
DETAIL_BYTES = 1024
"""Longer texts among the details are cut, so that an entry stays small whatever a caller sends."""
NAME_BYTES = 64
"""Longer names of details are cut; only an authenticator's can be."""


@dataclass(frozen=True)
class Operation:
    """A named sensitive action, declared once.

    `name` is the trail's action label and is never reused; `scope` is what an actor must hold. `details` names what
    may be recorded beyond the target: whatever performed() is given under another name stays out of the trail. With
    `audit_failure="refuse"` the operation must not go through unrecorded, whatever YOQ_AUDIT_FAILURE says. An
    `external` one has its effect outside the database: it is undertaken(), not performed().
    """

    name: str
    summary: str
    scope: str
    details: tuple[str, ...] = ()
    audit_failure: Literal["refuse"] | None = None
    external: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{1,63}", self.name):
            raise ValueError(f"{self.name!r} is no action label: use lower-case words joined by underscores")
        if not is_scope(self.scope):
            raise ValueError(f"{self.scope!r} is no scope: use <resource>:<verb>, or * for the administrator's")
        if "target" in self.details:
            raise ValueError("the target is performed()'s own argument, not one of the details")

    @contextmanager
    def performed(self, target: str | None = None, **details: Detail) -> Iterator[Session]:
        """Perform the operation: the block's changes and its record are committed together, or nothing is.

        Yields the database session. Raises Denied if the actor lacks the scope or a plugin vetoes; whatever the block
        raises is raised again after the rollback, recorded as `failed` (a NotFound is not recorded).
        """
        if self.external:
            raise RuntimeError(f"{self.name} is external: it is undertaken(), not performed()")
        here = state()
        event = begun(self, target, details)
        g.yoq_performing = self.name
        reached = recorded = spooled = False
        try:
            with unit_of_work() as session:
                reached = True
                here.plugins.ask_before(event)
                yield session
                session.flush()
                event = event.ended("ok")
                spooled = recording.record_change(event, session)
                recorded = True
        except NotFound:
            raise
        except Veto as veto:
            error = vetoed(event, veto)
            ended_badly(event.ended("denied", reason_of(error)), error)
            raise error from veto
        except Denied as error:
            ended_badly(event.ended("denied", reason_of(error)), error)
            raise
        except BaseException as error:
            # With the record of a change that was about to commit went the knowledge whether it did.
            unknown = spooled and (isinstance(error, OperationalError) or not isinstance(error, Exception))
            ended_badly(
                event.ended("interrupted" if unknown else "failed", reason_of(error), doubtful=recorded),
                error,
                reachable=reached or not isinstance(error, SQLAlchemyError),
            )
            if spooled:
                recording.settle(event, "rolled back")
            raise
        finally:
            g.pop("yoq_performing", None)
        if spooled:
            recording.settle(event, "committed")
        else:
            recording.recorded()
        ended(event)
        here.plugins.notify("yoq_operation_committed", event=event)

    def undertaken(self, target: str | None = None, **details: Detail) -> AbstractContextManager[Undertaking]:
        """Perform an external operation: its intent is committed before the block, its outcome after it.

        No transaction is open in the block and no lock is held. It gets an Undertaking, on which it can leave further
        details and a change of the database that is committed with the outcome. Raises like performed(); whatever the
        block raises is raised again and recorded as `failed`, a NotFound too. What a crash leaves open is settled as
        `interrupted` by the next process on the same data directory.
        """
        from yoq_web.operations.external import undertaken  # noqa: PLC0415 - it builds on this module

        return undertaken(self, target, details)


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

    def ended(self, outcome: Outcome, reason: str | None = None, *, doubtful: bool = False) -> Event:
        """This event with its outcome."""
        # Spelt out: dataclasses.replace() takes three times as long, on the path of every operation.
        return Event(
            id=self.id,
            operation=self.operation,
            actor=self.actor,
            target=self.target,
            details=self.details,
            time=self.time,
            request_id=self.request_id,
            node=self.node,
            peer=self.peer,
            outcome=outcome,
            reason=reason,
            doubtful=doubtful,
        )

    def document(self) -> dict[str, Any]:
        """This event as JSON knows it. Of the actor only kind and label stay; its details are among the event's."""
        own = {name: getattr(self, name) for name in PLAIN}
        actor = {"kind": self.actor.kind, "label": self.actor.label}
        doubt = {"doubtful": True} if self.doubtful else {}
        return own | {"operation": self.operation.name, "actor": actor, "details": dict(self.details)} | doubt

    @classmethod
    def from_document(cls, document: Mapping[str, Any], operations: Mapping[str, Operation]) -> Event:
        """The event of a document. Its operation may be unknown by now. Raises ValueError and the like for nonsense."""
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


PLAIN = ("id", "target", "time", "request_id", "node", "peer", "outcome", "reason")
"""The members of an event that are the same in JSON."""


ACCESS_DENIED = Operation("access_denied", "Refuse a request", "*", ("method", "path", "count", "seconds"))
"""Recorded where a request is refused and no operation is involved; nobody performs it."""


def begun(operation: Operation, target: str | None, details: Mapping[str, Detail]) -> Event:
    """An event that the current actor may begin now. Raises Denied if not, RuntimeError where none may begin."""
    # Else a label could be anybody's, and no token could be given the scope.
    known = state().registry.operations.get(operation.name)
    if known is not operation and known != operation:
        raise RuntimeError(f"the operation {operation.name} is not contributed by anything in use")
    # Before anything is recorded: a denial's own transaction would wait for the outer one for ever.
    if "yoq_performing" in g:
        raise RuntimeError(f"{operation.name} begins inside {g.yoq_performing}: operations do not nest")
    event = new_event(operation, target, details)
    if not event.actor.allows(operation.scope):
        raise denied(event)
    return event


def new_event(
    operation: Operation, target: str | None, details: Mapping[str, Detail], actor: Actor | None = None
) -> Event:
    """An Event that begins now, by the current actor, with the declared details and nothing else."""
    actor = actor or current_actor()
    kept = {clean(name, NAME_BYTES): kept_detail(value) for name, value in actor.details.items()}
    kept.update({name: kept_detail(details[name]) for name in operation.details if name in details})
    now = time.time_ns()
    asked = has_request_context()
    return Event(
        id=uuid7(now),
        operation=operation,
        actor=actor,
        target=None if target is None else clean(target, TARGET_BYTES),
        details=MappingProxyType(kept),
        time=now // 1000,
        request_id=g.get("yoq_request_id") if asked else None,
        node=state().settings.node,
        peer=g.get("yoq_peer") if asked else None,
    )


def denied(event: Event, scope: str | None = None) -> Denied:
    """Record that the actor of `event` lacks a scope, its operation's unless told; returns the error to raise."""
    error = Denied(detail=f"this needs the scope {scope or event.operation.scope}")
    ended_badly(event.ended("denied", f"needs the scope {scope or event.operation.scope}"), error)
    return error


def ended_badly(event: Event, error: BaseException, *, reachable: bool = True) -> bool:
    """Record an event that did not succeed, in a transaction of its own, and tell the plugins.

    Returns whether it is stored or on disk.
    """
    kept = recording.record_alone(event, reachable=reachable)
    ended(event)
    state().plugins.notify("yoq_operation_failed", event=event, error=error)
    return kept


def ended(event: Event) -> None:
    """Count the event, and remember it for the response's Audit-Id header."""
    state().metrics.operations.labels(event.operation.name, event.outcome).inc()
    g.yoq_events = (*g.get("yoq_events", ()), event)


def vetoed(event: Event, veto: Veto) -> Denied:
    """What a plugin's veto is to the caller."""
    return Denied(clean(str(veto), DETAIL_BYTES) or f"{event.operation.name} was vetoed")


def reason_of(error: BaseException) -> str:
    """What the trail says of an error: a problem's own text, else only its type, since messages may hold secrets."""
    return clean(error.error, DETAIL_BYTES) if isinstance(error, Problem) else type(error).__name__


def clean(text: str, limit: int) -> str:
    """`text` as both databases can store it: valid UTF-8 without NUL, at most `limit` bytes."""
    encoded = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
    return encoded[:limit].decode(errors="ignore")


def kept_detail(value: Any) -> Detail:
    """A detail as the trail keeps it: short, and of a type that JSON has."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, list | tuple):
        return tuple(clean(str(item), DETAIL_BYTES) for item in value[:64])
    return clean(str(value), DETAIL_BYTES)
