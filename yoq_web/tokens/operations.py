"""What can be done with tokens; routes and commands both come here."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from yoq_web.actors import make_label
from yoq_web.database.locks import advisory_lock
from yoq_web.database.pages import WHOLE, Page, Slice, read_page
from yoq_web.database.session import db
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details
from yoq_web.problems import NotFound, Problem
from yoq_web.scopes import ANYTHING, current_vocabulary
from yoq_web.tokens.authentication import hash_token
from yoq_web.tokens.models import Token
from yoq_web.tokens.names import find_fault, is_reserved, make_skeleton
from yoq_web.tokens.schemas import TokenCreated, TokenIn, TokenOut, parse_ttl

# Who can make tokens can make one for anything: both are the administrator's.
token_create = Operation(
    "token_create", "Create a token", ANYTHING, details=("scopes", "expires_at", "origin"), activity="create"
)
token_revoke = Operation(
    "token_revoke", "Revoke a token", ANYTHING, details=("scopes", "expires_at", "before", "origin"), activity="delete"
)

OPERATIONS = (token_create, token_revoke)


def create_token(wanted: TokenIn) -> TokenCreated:
    """Create a token and return its text, which is kept nowhere.

    Raises a Problem if a scope is unknown (400), the name cannot be borne (400), or one that a reader could take for it
    was ever given before (409).
    """
    check_token(wanted)
    now = int(time.time())
    text = secrets.token_hex(32)
    expires_at = None if wanted.ttl is None else now + parse_ttl(wanted.ttl)
    _store(wanted, hash_token(text), now, expires_at)
    return TokenCreated(name=wanted.name, scopes=wanted.scopes, token=text, expires_at=expires_at)


def import_token(wanted: TokenIn, secret_hash: str, created_at: int, expires_at: int | None, origin: str) -> None:
    """Create a token whose text somebody has already: `secret_hash` is that of hash_token().

    `origin` is the file that it comes from. Raises as create_token() does.
    """
    check_token(wanted)
    _store(wanted, secret_hash, created_at, expires_at, origin)


def check_token(wanted: TokenIn) -> None:
    """Raise a Problem (400) for a scope that is unknown, or a name that cannot be borne."""
    for scope in wanted.scopes:
        if scope not in current_vocabulary().words:
            raise Problem(400, f"invalid scope: {scope}", "`yoq-web token scopes` lists those there are")
    if fault := find_fault(wanted.name):
        raise Problem(400, "invalid name", fault)


def _store(
    wanted: TokenIn, secret_hash: str, created_at: int, expires_at: int | None, origin: str | None = None
) -> None:
    label = make_label(wanted.name)
    row = {
        "name": wanted.name,
        "label": label,
        "secret_hash": secret_hash,
        "scopes": ",".join(wanted.scopes),
        "created_at": created_at,
        "expires_at": expires_at,
    }
    with token_create.performed(wanted.name, scopes=wanted.scopes, expires_at=expires_at) as session:
        if origin is not None:
            add_details(origin=origin)
        refuse_label(session, label)
        try:
            session.execute(insert(Token).values(row))
        except IntegrityError:
            text = f"failed to create token (does '{wanted.name}' already exist?)"
            raise Problem(409, text, "a name is never given twice; what the trail shows of it counts") from None


def refuse_label(session: Session, label: str) -> None:
    """Raise a Problem (409) for a label that a reader of the trail may take for another actor's."""
    if is_reserved(label):
        raise Problem(409, "the name is reserved", "the trail knows another actor by a name that looks like it")
    _refuse_lookalike(session, label)


def _refuse_lookalike(session: Session, label: str) -> None:
    """Raise a Problem (409) if the trail has a token's label that looks like this one, were it revoked long ago."""
    # Else two that look alike could be made at once.
    advisory_lock(session, "tokens")
    skeleton = make_skeleton(label)
    for other in session.scalars(select(Token.label).where(Token.label != label)):
        if make_skeleton(other) == skeleton:
            raise Problem(409, "the name looks like another", f"in the trail it could be taken for {other!r}")


def revoke_token(name: str, *, origin: str | None = None) -> None:
    """Revoke a token, from the next request on in every process. Repeating it is no error. Raises NotFound.

    `origin` is the file that says so, if one does.
    """
    with token_revoke.performed(name) as session:
        if origin is not None:
            add_details(origin=origin)
        token = session.scalar(select(Token).where(Token.name == name).with_for_update())
        if token is None:
            raise NotFound("not found", f"there is no token {name!r}")
        now = int(time.time())
        before = token.compute_status(now)
        add_details(scopes=token.scopes.split(","), expires_at=token.expires_at, before=before)
        if token.revoked_at is None:
            token.revoked_at = now


def list_tokens(part: Slice = WHOLE) -> Page[TokenOut]:
    """List the tokens ever created, the newest first. Reading them is not recorded."""
    now = int(time.time())
    rows = read_page(db.session(), select(Token), (Token.created_at, Token.id), part, descending=True)
    return rows.convert(lambda row: _describe(row.Token, now))


def _describe(token: Token, now: int) -> TokenOut:
    return TokenOut(
        name=token.name,
        scopes=token.scopes.split(","),
        status=token.compute_status(now),
        created_at=token.created_at,
        expires_at=token.expires_at,
    )
