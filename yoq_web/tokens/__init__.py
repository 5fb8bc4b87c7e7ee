"""Tokens: named, scoped credentials beside the admin token; only their hash is stored."""

from __future__ import annotations

from yoq_web.contributions.contribution import Contribution
from yoq_web.http.authentication import Authenticator
from yoq_web.tokens import commands, operations, routes
from yoq_web.tokens.authentication import authenticate_token
from yoq_web.tokens.backup import RevocationKeeper


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(
        operations=operations.OPERATIONS,
        blueprints=(routes.blueprint,),
        commands=(commands.group,),
        keeper=RevocationKeeper(),
        authenticators=(Authenticator(authenticate_token),),
    )
