"""Announcements: what the log itself says is pruned or erased. Only those that its key signed count."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from yoq_audit.proofs.prover import NOT_HERE, translate_log_errors
from yoq_audit.sealing import keys, sealer
from yoq_audit.sealing.removal import Erasure, Pruning, is_signed, parse_removal
from yoq_audit.sealing.signer import CannotSign
from yoq_audit.storage.models import ANNOUNCING
from yoq_audit.tlog.note import Signer, Verifier
from yoq_web import Problem, advisory_lock

_SEALED = "JOIN audit_leaf l ON l.entry_id = e.id"
_COLUMNS = "SELECT e.event_id, e.action, e.target, e.details, e.id FROM audit_log e"
_MINE = f"WHERE e.{ANNOUNCING} AND e.outcome = 'ok'"
_NEWEST_PRUNING = text(f"{_COLUMNS} {_MINE} AND e.action = 'audit_prune' ORDER BY e.id DESC LIMIT 20")
_SEALED_PRUNING = text(f"{_COLUMNS} {_SEALED} {_MINE} AND e.action = 'audit_prune' ORDER BY e.id DESC LIMIT 20")
_SEALED_ERASING = text(
    f"{_COLUMNS} {_SEALED} {_MINE} AND e.action = 'audit_erase' "  # noqa: S608 - as above
    "AND NOT EXISTS (SELECT 1 FROM audit_erased g WHERE g.event_id = e.target) ORDER BY e.id"
)


def require_signer() -> Signer:
    """Return the log's key, without which nothing can be announced. Raises a Problem where this machine has it not."""
    key = keys.read_signer()
    if key is None:
        raise Problem(409, "nothing can be pruned or erased here", NOT_HERE)
    return key


def read_verifiers(session: Session) -> tuple[Verifier, ...]:
    """Read the keys whose announcements count: the chain that goes through this machine's key. None without one."""
    key = keys.read_signer()
    return tuple(keys.read_chain(session, key).keys) if key else ()


def seal_announcement() -> None:
    """Seal the announcement just made, if this machine can. Raises a 503 where the log cannot be sealed at all."""
    with translate_log_errors(), suppress(CannotSign):
        sealer.seal()


def find_newest_pruning(session: Session) -> Pruning | None:
    """Find the newest announcement of a minimum index, sealed or not."""
    found = _pick_pruning(session.execute(_NEWEST_PRUNING).all(), read_verifiers(session))
    return found[1] if found else None


def find_sealed_pruning(session: Session) -> tuple[str, Pruning] | None:
    """Find the newest sealed announcement of a minimum index, with the id of its event."""
    return _pick_pruning(session.execute(_SEALED_PRUNING).all(), read_verifiers(session))


def _pick_pruning(rows: Iterable[Any], known: tuple[Verifier, ...]) -> tuple[str, Pruning] | None:
    for event_id, action, target, details, _ in rows:
        parsed = parse_removal(action, target, details)
        if parsed and isinstance(parsed[0], Pruning) and is_signed(*parsed, known):
            return event_id, parsed[0]
    return None


def find_sealed_erasures(session: Session) -> list[tuple[str, Erasure]]:
    """Find the sealed announcements of erasures that are not done yet, each with the id of its event."""
    known = read_verifiers(session)
    found: list[tuple[str, Erasure]] = []
    for event_id, action, target, details, _ in session.execute(_SEALED_ERASING):
        parsed = parse_removal(action, target, details)
        if parsed and isinstance(parsed[0], Erasure) and is_signed(*parsed, known):
            found.append((event_id, parsed[0]))
    return found


def lock_retention(session: Session, *, wait: bool = True) -> bool:
    """Hold retention to one node for this transaction; without `wait`, return whether no other node is at it."""
    return advisory_lock(session, "log retention", wait=wait)
