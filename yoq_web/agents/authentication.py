"""Who presents the join token, which all agents share: it opens their own routes and nothing else (yoq's rule)."""

from __future__ import annotations

import hmac

from flask import Request

from yoq_web.actors import JOIN, Actor
from yoq_web.http.authentication import read_bearer
from yoq_web.settings import current_settings


def authenticate(request: Request) -> Actor | None:
    """Return the agents' common actor if the Authorization header carries the join token, or None."""
    expected = current_settings().join_token
    presented = read_bearer(request)
    if expected is None or presented is None:
        return None
    return JOIN if hmac.compare_digest(presented.encode(errors="replace"), expected.encode()) else None
