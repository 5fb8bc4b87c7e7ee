"""The guard: before any route, every request gets an id, an actor and a check of its scope, in yoq's order."""

from __future__ import annotations

import ipaddress
import re
import time
import uuid
from typing import NoReturn

from flask import Flask, Request, Response, current_app, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.stdlib import get_logger
from werkzeug.exceptions import MethodNotAllowed

from yoq_web.actors import UNAUTHENTICATED, Actor, set_actor
from yoq_web.hooks.notifier import HOOK_ERRORS, hook_failed
from yoq_web.hookspecs import Rejected
from yoq_web.http.endpoints import READING, Declaration, declaration_of
from yoq_web.operations.door import ACCESS_DENIED, denied, new_event
from yoq_web.problems import Problem
from yoq_web.scopes import ANYTHING, READ_ONLY, RESOURCES
from yoq_web.settings import Network
from yoq_web.state import state
from yoq_web.tokens.authentication import authenticate as by_token
from yoq_web.tokens.authentication import authenticate_agent as by_join_token

log = get_logger("yoq_web")

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
MAX_TARGET = 2048
"""Characters of a request's path and query (yoq's limit)."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def init_app(app: Flask) -> None:
    """Put the guard before every request, and the answers' common headers and log line after it."""
    app.before_request(guard)
    app.after_request(finish)


def guard() -> None:
    """Let the request through to its route, or raise the problem that yoq would answer at this point."""
    # Whatever an earlier request left on a shared app context must not count for this one.
    set_actor(UNAUTHENTICATED)
    g.yoq_events = ()
    g.yoq_started = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.yoq_request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    clear_contextvars()
    bind_contextvars(request_id=g.yoq_request_id)  # every log line of this request bears it
    g.yoq_peer = peer_address(request, state().settings.trusted_proxies)
    path = path_sent(request)
    routed = request.url_rule is not None and path == request.path
    # Werkzeug makes methods upper case and several leading slashes one; yoq takes both as they are.
    known = request.method in METHODS or routed
    if not known or request.environ["REQUEST_METHOD"] != request.method:
        raise Problem(400, "malformed request", "the methods are GET, HEAD, POST, PUT and DELETE")
    if len(path) + len(request.query_string) > MAX_TARGET:
        raise Problem(400, "request uri too long")
    if path in state().registry.public_paths:
        if not routed or request.method == "HEAD":
            raise Problem(404, "not found")
        return
    declaration = declaration_of(current_app.view_functions.get(request.endpoint or "")) if routed else None
    agents_own = declaration is not None and declaration.join
    actor = by_join_token(request.headers.get("Authorization")) if agents_own else authenticate()
    if actor is None:
        turn_away(path)
    set_actor(actor)
    check_scope(actor, path, declaration)
    if path != request.path:
        raise Problem(404, "not found")
    if request.method == "HEAD" and routed:
        adapter = current_app.create_url_adapter(request)
        raise MethodNotAllowed(adapter.allowed_methods() if adapter else ())


def authenticate() -> Actor | None:
    """The request's actor, or None. An authenticator that fails lets nobody in: 503."""
    for ask in state().plugins.implementations("yoq_authenticate"):
        try:
            actor = ask(request=request)
            if actor is not None and not isinstance(actor, Actor):
                raise TypeError(f"yoq_authenticate returned {type(actor).__name__}, not an Actor")
        except Rejected:
            return None
        except HOOK_ERRORS as error:
            hook_failed(ask.plugin, "yoq_authenticate", error)
            raise Problem(503, "authentication unavailable", f"the plugin {ask.plugin} failed") from error
        if isinstance(actor, Actor):
            return actor
    return by_token(request.headers.get("Authorization"))


def turn_away(path: str) -> NoReturn:
    """Answer a request without valid credentials: 401, or 429 when its address has failed too often this minute."""
    wait = state().attempts.failed(g.yoq_peer, request.method, path)
    if wait:
        raise Problem(429, "rate limit exceeded", "too many failed authentications", {"Retry-After": str(wait)})
    raise Problem(401, "unauthorized", headers={"WWW-Authenticate": "Bearer"})


def check_scope(actor: Actor, path: str, declaration: Declaration | None) -> None:
    """Refuse, and record, a request whose actor lacks the scope of the route or of the path."""
    scope = declaration.scope if declaration and declaration.scope else scope_of_path(request.method, path)
    if actor.allows(scope):
        return
    if declaration and declaration.operation:
        target = "->".join(str(value) for value in (request.view_args or {}).values())
        raise denied(new_event(declaration.operation, target or None, {}))
    line = f"{request.method} {path}"
    raise denied(new_event(ACCESS_DENIED, line, {"method": request.method, "path": path}), scope)


def scope_of_path(method: str, path: str) -> str:
    """The scope that yoq asks for at a path and method where no route is: by the resource that the path begins with."""
    registry = state().registry
    for resource in registry.resources:
        if path.startswith(f"/v1/{resource}"):
            reads = method in READING or resource in READ_ONLY
            # A plugin that declares no scope for writing has nothing to write.
            reads = reads or not (resource in RESOURCES or f"{resource}:write" in registry.scopes)
            return f"{resource}:{'read' if reads else 'write'}"
    return ANYTHING


def path_sent(asked: Request) -> str:
    """The request's path with all the slashes that it was sent with."""
    sent: str = asked.environ.get("PATH_INFO", "")
    return "/" * (len(sent) - len(sent.lstrip("/")) - 1) + asked.path


def peer_address(asked: Request, proxies: tuple[Network, ...]) -> str | None:
    """Who sent the request: the nearest address that is not one of our proxies. Only proxies' words are believed."""
    address = asked.remote_addr
    forwarded = [part.strip() for part in asked.headers.get("X-Forwarded-For", "").split(",")]
    while forwarded and address and _is_proxy(address, proxies):
        word = forwarded.pop()
        try:
            address = str(ipaddress.ip_address(word))
        except ValueError:
            break
    return address


def _is_proxy(address: str, proxies: tuple[Network, ...]) -> bool:
    if not proxies:
        return False
    try:
        return any(ipaddress.ip_address(address) in network for network in proxies)
    except ValueError:
        return False


def finish(response: Response) -> Response:
    """Name the request and the entry that it left, count it and log one line."""
    response.headers["X-Request-Id"] = g.get("yoq_request_id", "")
    if events := g.get("yoq_events"):
        response.headers["Audit-Id"] = events[-1].id
    endpoint = request.endpoint or "none"
    method = request.method if request.method in METHODS else "other"
    seconds = time.perf_counter() - g.yoq_started
    state().metrics.requests.labels(method, endpoint, response.status_code).inc()
    state().metrics.seconds.observe(seconds)
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round(seconds * 1000, 1),
        actor=g.yoq_actor.label,
        peer=g.yoq_peer,
    )
    return response
