"""The guard: before any route, every request gets an id, an actor and a check of its scope, in yoq's order."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Flask, Request, Response, current_app, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.stdlib import get_logger
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Map

from yoq_web.actors import UNAUTHENTICATED, Actor, current_actor, set_actor
from yoq_web.app_local import AppLocal, ContextLocal, restore_context
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.http import bodies, concurrency
from yoq_web.http.authentication import authenticate
from yoq_web.http.endpoints import Declaration, find_declaration, read_body, read_query, receive_body
from yoq_web.http.login_throttle import current_throttle
from yoq_web.http.peers import find_peer
from yoq_web.logs import current_request_id
from yoq_web.metrics import current_metrics
from yoq_web.operations.door import deny
from yoq_web.operations.event import current_events, current_peer, make_event
from yoq_web.operations.operation import ACCESS_DENIED
from yoq_web.operations.spool import current_spool
from yoq_web.problems import Problem
from yoq_web.scopes import ANYTHING
from yoq_web.settings import current_settings

log = get_logger("yoq_web")

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
MONITORED = ("/health", "/metrics")
MAX_TARGET = 2048
"""Characters of a request's path and query (yoq's limit)."""

current_public_routes: AppLocal[Map] = AppLocal("public_routes", lambda _app: Map())
"""The rules of the routes that need no credentials."""

_started: ContextLocal[float] = ContextLocal("started", 0.0)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def init_app(app: Flask) -> None:
    """Put the guard before every request, and the answers' common headers and log line after it."""
    app.before_request(guard)
    app.after_request(finish)
    concurrency.init_app(app)


def guard() -> None:
    """Let the request through to its route, or raise the problem that yoq would answer at this point."""
    # Whatever an earlier request left on a shared app context must not count for this one.
    restore_context()
    set_actor(UNAUTHENTICATED)
    _started.put(time.perf_counter())
    given = request.headers.get("X-Request-Id", "")
    request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    current_request_id.put(request_id)
    clear_contextvars()
    bind_contextvars(request_id=request_id)  # every log line of this request bears it
    current_peer.put(find_peer(request, current_settings().trusted_proxies))
    bodies.watch_body(request.environ)
    path = read_raw_path(request)
    routed = request.url_rule is not None and path == request.path
    # Werkzeug makes methods upper case and several leading slashes one; yoq takes both as they are.
    known = request.method in METHODS or routed
    if not known or request.environ["REQUEST_METHOD"] != request.method:
        raise Problem(400, "malformed request", "the methods are GET, HEAD, POST, PUT and DELETE")
    check_host(request.environ)
    if len(path) + len(request.query_string) > MAX_TARGET:
        raise Problem(400, "request uri too long")
    declaration = find_declaration(current_app.view_functions.get(request.endpoint or "")) if routed else None
    if declaration.public if declaration else is_public(path):
        if not routed:
            raise Problem(404, "not found")
        return
    if not (declaration and declaration.at_once):
        concurrency.take_turn()
    actor = authenticate(declaration.scope if declaration else None)
    if actor is None:
        reject(path)
    set_actor(actor)
    if declaration is None:
        if path == request.path and isinstance(request.routing_exception, MethodNotAllowed):
            raise MethodNotAllowed(list_methods())
        raise Problem(404, "not found")
    check_scope(actor, path, declaration)
    if request.method == "HEAD" and not declaration.head:
        raise MethodNotAllowed(list_methods())


def list_methods() -> list[str]:
    """List the methods that the request's path is answered by."""
    adapter = current_app.create_url_adapter(request)
    methods = set(adapter.allowed_methods() if adapter else ())
    if adapter and "GET" in methods:
        declaration = find_declaration(current_app.view_functions[adapter.match(method="GET")[0]])
        methods -= set() if declaration and declaration.head else {"HEAD"}
    return sorted(methods)


def check_host(environ: Mapping[str, Any]) -> None:
    """Raise a 400 for a request that names several hosts, or none in HTTP/1.1: a proxy may have read another one."""
    host = environ.get("HTTP_HOST", "")  # the server joins several by commas, and leaves it empty where there is none
    if "," in host or (not host and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"):
        raise Problem(400, "malformed request", "it must name one host")


def reject(path: str) -> NoReturn:
    """Answer a request without valid credentials: 401, or 429 when its address has failed too often this minute."""
    wait = current_throttle().count_failure(current_peer(), request.method, path)
    if wait:
        raise Problem(429, "rate limit exceeded", "too many failed authentications", {"Retry-After": str(wait)})
    raise Problem(401, "unauthorized", headers={"WWW-Authenticate": "Bearer"})


def check_scope(actor: Actor, path: str, declaration: Declaration) -> None:
    """Refuse, and record, a request whose actor lacks the scope of the route."""
    scope = declaration.scope or ANYTHING
    if actor.allows(scope):
        return
    if declaration.operation:
        raise deny(make_event(declaration.operation, *find_attempt(declaration)))
    line = f"{request.method} {path}"
    raise deny(make_event(ACCESS_DENIED, line, {"method": request.method, "path": path}), scope)


def find_attempt(declaration: Declaration) -> tuple[str | None, Mapping[str, Any]]:
    """Find the target of an operation that is denied, the same that it would have had, and details that tell it apart.

    The target is None if it cannot be told.
    """
    arguments: dict[str, Any] = dict(request.view_args or {})
    if declaration.target is None:
        return (str(next(iter(arguments.values()))) if len(arguments) == 1 else None), {}
    if declaration.body is not None:
        try:
            arguments["body"] = receive_body() if declaration.raw else read_body(declaration.body, lenient=True)
        except HOOK_ERRORS:  # whatever is wrong with it, or with a plugin's model of it; the path may tell still
            arguments["body"] = None
    try:
        if declaration.query is not None:
            arguments["query"] = read_query(declaration.query, lenient=True)
        found = declaration.target(**arguments)
        target, details = found if isinstance(found, tuple) else (found, {})
        return (None if target is None else str(target)), dict(details)
    except HOOK_ERRORS:  # it asks the body, or is a plugin's and wrong: the denial is recorded
        return None, {}


def is_public(path: str) -> bool:
    """Tell whether a path needs no credentials, by whatever method it is asked for."""
    # Werkzeug takes several leading slashes for one; yoq does not.
    return not path.startswith("//") and current_public_routes().bind("").test(path)


def read_raw_path(asked: Request) -> str:
    """Read the request's path with all the slashes that it was sent with."""
    sent: str = asked.environ.get("PATH_INFO", "")
    return "/" * (len(sent) - len(sent.lstrip("/")) - 1) + asked.path


def finish(response: Response) -> Response:
    """Name the request and the entry that it left, count it and log one line."""
    response.headers["X-Request-Id"] = current_request_id()
    declaration = find_declaration(current_app.view_functions.get(request.endpoint or ""))
    if not (declaration and declaration.public):
        # Whatever is behind a token is its holder's alone, and a route that shows what may be kept says so.
        response.headers.setdefault("Cache-Control", "no-store")
    # What follows from a deed by itself, as the end of a rollout does, is the system's and not the caller's.
    events = [event for event in current_events() if event.actor.kind != "system"]
    if events and not current_spool().holds(events[-1].id):  # a receipt is good for what is on disk
        response.headers["Audit-Id"] = events[-1].id
    endpoint = request.endpoint or "none"
    method = request.method if request.method in METHODS else "other"
    seconds = time.perf_counter() - _started()
    current_metrics().requests.labels(method, endpoint, response.status_code).inc()
    current_metrics().seconds.observe(seconds)
    # What monitoring asks every few seconds would bury the rest.
    level = logging.DEBUG if request.path in MONITORED and response.status_code < 400 else logging.INFO
    log.log(
        level,
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round(seconds * 1000, 1),
        actor=current_actor().label,
        peer=current_peer(),
    )
    return response
