"""The HTTP API of tokens, for administrators."""

from __future__ import annotations

from flask import Blueprint

from yoq_web.http.endpoints import Status, endpoint
from yoq_web.scopes import ANYTHING
from yoq_web.tokens import operations
from yoq_web.tokens.schemas import TokenCreated, TokenIn, TokenOut

blueprint = Blueprint("tokens", __name__)


@blueprint.get("/v1/tokens")
@endpoint(scope=ANYTHING, answer=list[TokenOut])
def list_tokens() -> list[dict[str, object]]:
    """List the tokens, the newest first; their texts are kept nowhere."""
    return [token.model_dump() for token in operations.list_tokens()]


@blueprint.post("/v1/tokens")
@endpoint(
    operations.token_create,
    body=TokenIn,
    target=lambda body: body.name,
    answer=TokenCreated,
    status=201,
    errors={409: "The name was given before, or is another actor's"},
)
def create_token(body: TokenIn) -> TokenCreated:
    """Create a token.

    The answer holds its text, which is shown this once.
    """
    return operations.create_token(body)


@blueprint.delete("/v1/tokens/<name>")
@endpoint(operations.token_revoke)
def revoke_token(name: str) -> Status:
    """Revoke a token, at once and in every process."""
    operations.revoke_token(name)
    return Status(status="revoked")
