"""The HTTP API of policies (yoq's contract)."""

from __future__ import annotations

from flask import Blueprint

from yoq_web.database.pages import Page
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.http.pages import PageQuery
from yoq_web.policies import operations
from yoq_web.policies.schemas import PairQuery, PolicyIn, PolicyOut

blueprint = Blueprint("policies", __name__)


@blueprint.get("/v1/policies")
@endpoint(scope="policies:read", query=PageQuery, answer=list[PolicyOut])
def list_policies(query: PageQuery) -> Page[dict[str, str]]:
    """List the policies, the oldest first."""
    found = operations.list_policies(query.find_slice())
    return found.convert(lambda rule: {"source": rule[0], "target": rule[1], "action": rule[2]})


@blueprint.post("/v1/policies")
@endpoint(operations.policy_add, body=PolicyIn, target=lambda body: operations.name_rule(body.source, body.target))
def add_policy(body: PolicyIn) -> Status:
    """Add a policy, or replace the one for the same source and target."""
    operations.add_policy(body.source, body.target, body.action)
    return Status(status="ok")


@blueprint.delete("/v1/policies/<source>/<target>")
@endpoint(operations.policy_delete, target=operations.name_rule)
def delete_policy(source: str, target: str) -> Status:
    """Delete a policy; the answer is the same if there was none."""
    operations.delete_policy(source, target)
    return Status(status="removed")


@blueprint.delete("/v1/policies")
@endpoint(
    operations.policy_delete,
    query=PairQuery,
    target=lambda query: operations.name_rule(query.source, query.target),
)
def delete_pair(query: PairQuery) -> Status:
    """Delete a policy, whatever is in its names: a slash, for one, cannot be told from that between them in a path."""
    operations.delete_policy(query.source, query.target)
    return Status(status="removed")
