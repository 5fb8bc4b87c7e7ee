"""The HTTP API of tokens, for administrators."""

from __future__ import annotations

from flask import Blueprint

from yoq_web.database.pages import Page
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.http.pages import PageQuery
from yoq_web.scopes import ANYTHING
from yoq_web.tokens import operations
from yoq_web.tokens.schemas import TokenCreated, TokenIn, TokenOut

blueprint = Blueprint("tokens", __name__)


@blueprint.get("/v1/tokens")
@endpoint(scope=ANYTHING, query=PageQuery, answer=list[TokenOut])
def list_tokens(query: PageQuery) -> Page[TokenOut]:
    """List the tokens, the newest first; their texts are kept nowhere."""
    return operations.list_tokens(query.find_slice())


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


@blueprint.delete("/v1/tokens/<name:name>")
@endpoint(operations.token_revoke)
def revoke_token(name: str) -> Status:
    """Revoke a token, at once and in every process."""
    operations.revoke_token(name)
    return Status(status="revoked")
