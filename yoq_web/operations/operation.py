"""Operation: a named sensitive action, declared once, and performed through the door."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy.orm import Session

from yoq_web.actors import LOCAL_DETAILS
from yoq_web.app_local import AppLocal
from yoq_web.operations.details import MARKS
from yoq_web.scopes import is_scope

if TYPE_CHECKING:
    from yoq_web.operations.details import Detail
    from yoq_web.operations.external import Undertaking

RESERVED = MARKS | {*LOCAL_DETAILS}
"""Details that no operation declares: what they say is found out, and not what a caller says."""

Activity = Literal["create", "read", "update", "delete"]


@dataclass(frozen=True)
class Operation:
    """A named sensitive action, declared once.

    `name` is the trail's action label and is never reused; `scope` is what an actor must hold. `details` names what
    may be recorded beyond the target: whatever performed() is given under another name stays out of the trail, and
    add_details(), for what is known only inside the block, refuses it. With
    `audit_failure="refuse"` the operation must not go through unrecorded, whatever YOQ_AUDIT_FAILURE says. An
    `external` one has its effect outside the database: it is undertaken(), not performed(). `activity` is what it does
    to what it acts on, for programs that know no labels: None if it is none of these.
    """

    name: str
    summary: str
    scope: str
    details: tuple[str, ...] = ()
    audit_failure: Literal["refuse"] | None = None
    external: bool = False
    activity: Activity | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{1,63}", self.name):
            raise ValueError(f"{self.name!r} is no action label: use lower-case words joined by underscores")
        if not is_scope(self.scope):
            raise ValueError(f"{self.scope!r} is no scope: use <resource>:<verb>, or * for the administrator's")
        details: object = self.details
        if not isinstance(details, tuple | list) or not all(isinstance(name, str) for name in details):
            raise TypeError(f"the details of {self.name} are a tuple of names")
        if "target" in self.details:
            raise ValueError("the target is performed()'s own argument, not one of the details")
        if taken := sorted(RESERVED & set(self.details)):
            raise ValueError(f"{self.name} cannot have a detail {', '.join(taken)}: the trail says so by itself")

    def performed(self, target: str | None = None, **details: Detail) -> AbstractContextManager[Session]:
        """Perform the operation: the block's changes and its record are committed together, or nothing is.

        The block gets the database session. Raises Denied if the actor lacks the scope or a plugin vetoes; whatever the
        block raises is raised again after the rollback, recorded as `failed` (a NotFound is not recorded).
        """
        from yoq_web.operations.door import perform  # noqa: PLC0415 - it builds on this module

        return perform(self, target, details)

    def undertaken(self, target: str | None = None, **details: Detail) -> AbstractContextManager[Undertaking]:
        """Perform an external operation: its intent is committed before the block, its outcome after it.

        No transaction is open in the block and no lock is held. It gets an Undertaking, on which it can leave further
        details and a change of the database that is committed with the outcome. Raises like performed(); whatever the
        block raises is raised again and recorded as `failed`, a NotFound too. What a crash leaves open is closed as
        `interrupted` by the next process on the same data directory.
        """
        from yoq_web.operations.external import undertake  # noqa: PLC0415 - as above

        return undertake(self, target, details)


ACCESS_DENIED = Operation("access_denied", "Refuse a request", "*", ("method", "path", "count", "seconds"))
"""Recorded where a request is refused and no operation is involved; nobody performs it."""

current_operations: AppLocal[dict[str, Operation]] = AppLocal("operations", lambda _app: {})
"""Every operation that the application knows, by its name."""
