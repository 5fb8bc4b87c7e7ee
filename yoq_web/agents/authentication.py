"""Who presents the join token, which all agents share: it opens their own routes and nothing else (yoq's rule)."""

from __future__ import annotations

import hmac

from flask import Request

from yoq_web.actors import JOIN, Actor
from yoq_web.settings import current_settings

SCHEME = "Bearer "


def authenticate(request: Request) -> Actor | None:
    """Return the agents' common actor if the Authorization header carries the join token, or None."""
    expected = current_settings().join_token
    authorization = request.headers.get("Authorization")
    if expected is None or not authorization or not authorization.startswith(SCHEME):
        return None
    presented = authorization.removeprefix(SCHEME).encode(errors="replace")
    return JOIN if hmac.compare_digest(presented, expected.encode()) else None
