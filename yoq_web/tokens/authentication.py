"""Who presents a bearer token: the administrator, a named token's holder or nobody (yoq's rules)."""

from __future__ import annotations

import hashlib
import hmac
import time

from flask import Request
from sqlalchemy import select

from yoq_web.actors import ADMIN, Actor
from yoq_web.database.session import db
from yoq_web.http.authentication import read_bearer
from yoq_web.settings import TOKEN_FORM, current_settings
from yoq_web.tokens.admin import load_admin_token
from yoq_web.tokens.models import Token


def hash_token(secret: str) -> str:
    """Return what is stored of a token: its text's SHA-256, as hex. Its 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate_token(request: Request) -> Actor | None:
    """Return the actor whose token the Authorization header carries, or None. Revocation and expiry count at once."""
    secret = read_bearer(request)
    if secret is None or not TOKEN_FORM.fullmatch(secret):
        return None
    if hmac.compare_digest(secret, load_admin_token(current_settings())):
        return ADMIN
    digest = hash_token(secret)
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
