"""`yoq-web audit show`: all that is known of one entry, and whether its proof holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.proofs import prover
from yoq_audit.proofs.entry_leaf import drop_unproved, make_leaf
from yoq_audit.query import pages
from yoq_audit.query.display import COLORS, EntryTable, choose_color, describe_who
from yoq_audit.query.filters import FilterQuery
from yoq_audit.storage import log
from yoq_audit.storage.documents import make_documents, make_spooled_document
from yoq_audit.storage.models import CHECKPOINTS, LEAVES
from yoq_audit.storage.tombstones import explain_absence
from yoq_audit.tlog import proof as proofs
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Verifier
from yoq_web import Problem, as_json, command, db, dumps, escape_text, format_local, named, print_json

SHORTEST = 8
"""So much of an event's id must be given."""

MOST_CANDIDATES = 5
MOST_OF_REQUEST = 100


@dataclass(frozen=True)
class EntryView:
    """An entry as a document, the intent that it began with, the other entries of its request, and where it is.

    `place` is None until it is sealed. `proof` says whether it `holds`, None where that cannot be told here, and then
    the `reason`; else the `size` of the log for which it holds and the `origin` that signed it.
    """

    entry: dict[str, Any]
    intent: dict[str, Any] | None
    request: list[dict[str, Any]]
    place: int | None
    sealed_at: int | None
    proof: dict[str, Any]

    def to_document(self) -> dict[str, Any]:
        """Return it as the command prints it for programs."""
        return dict(vars(self))


def view_entry(session: Session, given: str) -> EntryView:
    """Find an entry by its event's id, or by the beginning of it, and what belongs to it. Raises a Problem."""
    event_id = _complete_id(session, given)
    row = log.find(session, event_id)
    if event := log.find_in_spool(row, event_id):
        reason = "it is only in the spool: the database did not take it yet"
        return EntryView(make_spooled_document(event), None, [], None, None, {"holds": None, "reason": reason})
    if row is None:
        raise explain_absence(session, event_id)
    [entry] = make_documents([row])
    proof = _try_proof(event_id, entry)
    intent = log.find_intent(session, event_id) if row.outcome != "started" else None
    place = session.scalar(select(LEAVES.c.leaf_index).where(LEAVES.c.entry_id == row.id))
    return EntryView(
        entry,
        None if intent is None else make_documents([intent])[0],
        _list_request(session, entry),
        place,
        None if place is None else _find_sealing(session, place),
        proof,
    )


def _complete_id(session: Session, given: str) -> str:
    """Complete the beginning of an event's id; what is none, or the whole of one, stays as it is."""
    if len(given) >= 36 or not re.fullmatch(r"[0-9a-f-]+", given):
        return given
    if len(given) < SHORTEST:
        raise Problem(400, "the id is too short", f"give at least {SHORTEST} characters of it")
    found = log.find_ids(session, given, MOST_CANDIDATES + 1)
    if len(found) > 1:
        more = ", …" if len(found) > MOST_CANDIDATES else ""
        raise Problem(400, "several entries have an id that begins so", ", ".join(found[:MOST_CANDIDATES]) + more)
    return found[0] if found else given


def _list_request(session: Session, entry: dict[str, Any]) -> list[dict[str, Any]]:
    if entry["request_id"] is None:
        return []
    selection = FilterQuery(request_id=[entry["request_id"]]).resolve()
    page = pages.read_page(session, selection, limit=MOST_OF_REQUEST, order="asc")
    return [other for other in page.entries if other["event_id"] != entry["event_id"]]


def _find_sealing(session: Session, place: int) -> int | None:
    """Find when the first kept checkpoint that has the place was made, in seconds since 1970."""
    return session.scalar(
        select(CHECKPOINTS.c.sealed_at).where(CHECKPOINTS.c.size > place).order_by(CHECKPOINTS.c.size).limit(1)
    )


def _try_proof(event_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Prove the entry, and check the proof as an auditor would who has the document and the log's keys."""
    try:
        proof, _ = prover.prove_entry(event_id)
        verifiers = [Verifier.from_vkey(vkey) for vkey in prover.list_keys(db.session())]
        head = proofs.check(proof.format(), make_leaf(drop_unproved(entry)), verifiers)
    except Problem as problem:
        reason = ": ".join(filter(None, [problem.error, problem.detail]))
        return {"holds": False if problem.error == prover.DAMAGED else None, "reason": reason}
    except LogError as error:
        return {"holds": False, "reason": str(error)}
    return {"holds": True, "size": head.size, "origin": head.origin}


@command("show")
@named("entry")
@as_json
def show_command(entry: str, as_json: bool) -> None:
    """Show all that is known of ENTRY, an event's id or its beginning, as the list shows it.

    That is the entry, its intent, what else its request did, where it is in the log, and whether its proof holds.
    """
    found = view_entry(db.session(), entry)
    if as_json:
        print_json(found.to_document())
    else:
        _print_view(found)
    if found.proof["holds"] is False:
        raise click.exceptions.Exit(1)


def _print_view(found: EntryView) -> None:
    entry = found.entry
    _print_fact("entry", entry["event_id"])
    _print_fact("time", format_local(entry["time"]))
    _print_fact("actor", describe_who(entry))
    if entry.get("actor_description"):
        _print_fact("", entry["actor_description"])
    for name in ("action", "target"):
        _print_fact(name, entry[name])
    outcome = click.style(escape_text(str(entry["outcome"])), fg=COLORS.get(str(entry["outcome"])))
    click.echo(f"{'outcome':<10} {outcome}", color=choose_color())
    for title, name in (("reason", "reason"), ("from", "peer"), ("request", "request_id"), ("node", "node")):
        _print_fact(title, entry[name])
    details = entry["details"]
    shown = [f"{name} = {_write_detail(value)}" for name, value in details.items()] if isinstance(details, dict) else []
    for number, text in enumerate(shown or [_write_detail(details)]):
        _print_fact("" if number else "details", text)
    if found.intent:
        _print_fact("begun", format_local(found.intent["time"]))
    _print_fact("place", "not sealed yet" if found.place is None else found.place)
    if found.sealed_at is not None:
        _print_fact("sealed", format_local(found.sealed_at * 1_000_000))
    _print_fact("proof", _describe_proof(found.proof))
    if found.request:
        click.echo("\nin the same request:")
        table = EntryTable(found.request)
        table.print_head()
        table.print_entries(found.request)


def _print_fact(name: str, value: object) -> None:
    click.echo(f"{name:<10} {'-' if value is None else escape_text(str(value))}")


def _write_detail(value: object) -> str:
    return value if isinstance(value, str) else dumps(value)


def _describe_proof(proof: dict[str, Any]) -> str:
    if proof["holds"]:
        return f"holds: it is in the log of {proof['size']} that {proof['origin']} signed"
    return f"{'does not hold' if proof['holds'] is False else 'cannot be told now'}: {proof['reason']}"
