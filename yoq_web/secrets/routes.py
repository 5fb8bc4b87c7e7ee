"""The HTTP API of secrets (yoq's contract)."""

from __future__ import annotations

from flask import Blueprint

from yoq_web.database.pages import Page
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.http.pages import PageQuery
from yoq_web.secrets import operations
from yoq_web.secrets.schemas import SecretIn

blueprint = Blueprint("secrets", __name__)


@blueprint.get("/v1/secrets")
@endpoint(operations.secret_list, query=PageQuery, answer=list[str])
def list_secrets(query: PageQuery) -> Page[str]:
    """List the names of the secrets, in the order of their bytes."""
    return operations.list_secrets(query.find_slice())


@blueprint.post("/v1/secrets")
@endpoint(operations.secret_set, body=SecretIn, target=lambda body: body.name)
def set_secret(body: SecretIn) -> Status:
    """Set a secret.

    Creates it or replaces its value.
    """
    operations.set_secret(body.name, body.value.get_secret_value())
    return Status(status="ok")


@blueprint.delete("/v1/secrets/<name:name>")
@endpoint(operations.secret_delete)
def delete_secret(name: str) -> Status:
    """Delete a secret."""
    operations.delete_secret(name)
    return Status(status="removed")
