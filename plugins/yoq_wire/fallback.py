"""The routes that take whatever else is asked for under yoq's paths, so that its scopes and refusals hold there too."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response, request

from yoq_web import Problem, Status
from yoq_wire.answers import choose_refusal, make_blueprint, wire_endpoint

WHY = "it refuses every request"

READS = ("GET",)
WRITES = ("POST", "PUT", "DELETE")

RULES = (
    (("/apps/<path:rest>",), READS, "apps:read"),
    (("/apps", "/apps/<path:rest>"), WRITES, "apps:write"),
    (("/deploy",), ("PUT", "DELETE"), "apps:write"),
    (("/deploy",), READS, "apps:read"),
    (("/agents/<path:rest>", "/wireguard/<path:rest>"), READS, "agents:read"),
    (("/agents", "/agents/<path:rest>", "/wireguard/<path:rest>"), WRITES, "agents:write"),
    (("/cluster/<path:rest>",), READS, "cluster:read"),
    (("/cluster/<path:rest>",), WRITES, "cluster:admin"),
    (("/v1/status", "/v1/metrics"), WRITES, "status:read"),
)
"""Paths, methods, and the scope that yoq asks for there."""


def make_routes() -> Blueprint:
    """Make the blueprint of all of them; whatever a real route answers does not come here."""
    routes = make_blueprint("fallback")
    for paths, methods, scope in RULES:
        _add_rule(routes, paths, methods, scope)
    return routes


def _add_rule(routes: Blueprint, paths: Sequence[str], methods: Sequence[str], scope: str) -> None:
    @wire_endpoint(scope=scope, unaudited=WHY)
    def refuse(rest: str = "") -> Status | Response:  # noqa: ARG001 - part of the path
        """Refuse a request that yoq knows no answer to."""
        status, error = choose_refusal(request.method, request.path)
        raise Problem(status, error)

    for path in paths:
        name = f"{scope.replace(':', '_')}_{methods[0].lower()}_{path.strip('/').replace('/', '_').partition('<')[0]}"
        kind = "under" if "<" in path else "at"
        routes.add_url_rule(path, f"{kind}_{name}", refuse, methods=list(methods))
