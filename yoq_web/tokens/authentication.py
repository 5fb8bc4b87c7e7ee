"""Who presents a bearer token: the administrator, a named token's holder, an agent or nobody (yoq's rules)."""

from __future__ import annotations

import hashlib
import hmac
import time

from sqlalchemy import select

from yoq_web.actors import ADMIN, JOIN, Actor
from yoq_web.database.session import db
from yoq_web.settings import TOKEN_FORM
from yoq_web.state import state
from yoq_web.tokens.admin import admin_token
from yoq_web.tokens.models import Token

SCHEME = "Bearer "


def hash_of(secret: str) -> str:
    """What is stored of a token: the SHA-256 of its text, as hex. Its 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate(authorization: str | None) -> Actor | None:
    """The actor whose token an Authorization header carries, or None. Revocation and expiry count from now on."""
    if not authorization or not authorization.startswith(SCHEME):
        return None
    secret = authorization.removeprefix(SCHEME)
    if not TOKEN_FORM.fullmatch(secret):
        return None
    if hmac.compare_digest(secret, admin_token(state().settings)):
        return ADMIN
    digest = hash_of(secret)
    token = db.session.execute(
        select(Token.label, Token.secret_hash, Token.scopes).where(
            Token.secret_hash == digest,
            Token.revoked_at.is_(None),
            Token.expires_at.is_(None) | (Token.expires_at > int(time.time())),
        )
    ).first()
    if token is None or not hmac.compare_digest(token.secret_hash, digest):
        return None
    return Actor("token", token.label, tuple(token.scopes.split(",")))


def authenticate_agent(authorization: str | None) -> Actor | None:
    """The agents' common actor if an Authorization header carries the join token, or None."""
    expected = state().settings.join_token
    if expected is None or not authorization or not authorization.startswith(SCHEME):
        return None
    presented = authorization.removeprefix(SCHEME).encode(errors="replace")
    return JOIN if hmac.compare_digest(presented, expected.encode()) else None
