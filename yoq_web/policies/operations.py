"""What can be done with policies; routes and commands both come here."""

from __future__ import annotations

import time

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from yoq_web.database.locks import advisory_lock
from yoq_web.database.pages import WHOLE, Page, Slice, read_page
from yoq_web.database.session import db, upsert
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details
from yoq_web.policies.models import Policy

policy_add = Operation(
    "policy_add",
    "Add a policy",
    "policies:write",
    ("source", "destination", "action", "before", "origin"),
    activity="create",
)
policy_delete = Operation(
    "policy_delete", "Delete a policy", "policies:write", ("source", "destination", "before"), activity="delete"
)

OPERATIONS = (policy_add, policy_delete)


def add_policy(source: str, target: str, action: str, *, origin: str | None = None) -> None:
    """Add a rule; one that replaces another takes the last place in the list.

    `origin` is the file that an imported one comes from.
    """
    pair, ends = name_rule(source, target)
    with policy_add.performed(pair, **ends, action=action) as session:
        # Two that add the same rule at once come one after the other: the second sees what it replaces.
        advisory_lock(session, "policies")
        add_details(before=find_action(session, source, target))
        if origin is not None:
            add_details(origin=origin)
        now = time.time_ns() // 1000
        row = {"source": source, "target": target, "action": action, "created_at": now}
        session.execute(upsert(Policy, key=("source", "target"), update=("action", "created_at")), row)


def find_action(session: Session, source: str, target: str) -> str | None:
    """Return what the rule for source and target says, `allow` or `deny`; None if there is no rule."""
    return session.scalar(select(Policy.action).where(_is(source, target)))


def delete_policy(source: str, target: str) -> None:
    """Delete a rule; no error if there is none, as in yoq."""
    pair, ends = name_rule(source, target)
    with policy_delete.performed(pair, **ends) as session:
        add_details(before=session.scalar(delete(Policy).where(_is(source, target)).returning(Policy.action)))


def _is(source: str, target: str) -> ColumnElement[bool]:
    return (Policy.source == source) & (Policy.target == target)


def list_policies(part: Slice = WHOLE) -> Page[tuple[str, str, str, int]]:
    """List the rules by age as (source, target, action, seconds since 1970). Reading them is not recorded."""
    chosen = select(Policy.source, Policy.target, Policy.action)
    rows = read_page(db.session(), chosen, (Policy.created_at, Policy.id), part)
    return rows.convert(lambda row: (row.source, row.target, row.action, row.created_at // 1_000_000))


def name_rule(source: str, target: str) -> tuple[str, dict[str, str]]:
    """Name a rule for the trail: its target as yoq writes it, and the details that have both ends apart."""
    return f"{source}->{target}", {"source": source, "destination": target}
