"""What yoq's clients need of every answer: errors of one member, yoq's own refusals, a connection that is closed."""

from __future__ import annotations

import functools
import json
import re

from flask import Blueprint, Response, request

from yoq_web import Problem, dumps, endpoint, is_plain_text, set_deadline
from yoq_wire.limits import CLIENT_LIMIT, find_limit

PATIENCE = 3.0
"""Seconds to wait for other writers: yoq's programs abort if no byte comes in five."""

PATIENCE_WITH_BEATS = 1.0
"""The same for heartbeats, of which there are many: the next one comes soon, and one that is missed does no harm."""

HEX_ID = re.compile(r"[0-9a-f]{1,64}")

APP = re.compile(
    r"/apps/([^/]+)/(?:status|history|rollback|rollout/(?:pause|resume|cancel)|workers/[^/]+/run"
    r"|training/[^/]+/(start|stop|pause|resume|scale|status|logs))"
)
AGENT = re.compile(r"/agents/([^/]+)(/.*)?")
OF_AGENT = re.compile(r"/(?:labels|heartbeat|assignments|drain|assignments/[^/]+/status)")

Refusal = tuple[int, str]

NOT_FOUND = (404, "not found")
NOT_ALLOWED = (405, "method not allowed")


wire_endpoint = functools.partial(endpoint, hidden=True, lenient=True)
"""Declares a route that yoq has, too: as yoq does, it ignores whatever it does not know."""


def make_blueprint(name: str, *, described: bool = False) -> Blueprint:
    """Make a blueprint whose answers, refusals of the guard among them, are as yoq's clients expect them.

    Those of routes that the API describes are problems as it describes them, which begin with the `error`, too.
    """
    made = Blueprint(f"wire_{name}", __name__)
    made.before_request(check_path)
    made.after_request(functools.partial(finish_answer, whole=described))
    return made


def check_path() -> None:
    """Refuse ids and names in a path that yoq would not take, before a look at the body."""
    set_deadline(PATIENCE)
    named = request.view_args or {}
    if "agent" in named and not HEX_ID.fullmatch(named["agent"]):
        raise Problem(400, "invalid agent id")
    if "app" in named and not is_plain_text(named["app"]):
        raise Problem(400, "invalid app name")


def finish_answer(response: Response, *, whole: bool = False) -> Response:
    """Close the connection, or the client waits for its end; of a problem tell the `error` alone, if not the whole.

    What is too long in spite of all is an error: yoq's client would not survive it. Of routes that the API describes
    there are other clients.
    """
    response.headers["Connection"] = "close"
    status, error = response.status_code, None
    if response.mimetype == "application/problem+json" and not whole:
        error = json.loads(response.get_data())["error"]
    if request.method == "HEAD" and status == 405:
        # No route of yoq's takes HEAD for GET; the core says 405 for any.
        status, error = choose_refusal(request.method, request.path)
        response.headers.pop("Allow", None)
    if len(response.get_data()) > CLIENT_LIMIT and (not whole or find_limit(request)):
        status, error = 500, "the answer is too long for this client"
    if error is not None:
        response.status_code = status
        response.set_data(dumps({"error": error}))
        response.content_type = "application/json"
    return response


def choose_refusal(method: str, path: str) -> Refusal:
    """Choose the status and the text with which yoq answers a request that no route of ours is for.

    That is 404, or 405 where yoq knows the path by another method.
    """
    if found := APP.fullmatch(path):
        if not is_plain_text(found[1]):
            return 400, "invalid app name"
        # There are no training jobs here: none of them is found by the right method.
        right = "GET" if found[2] in ("status", "logs") else "POST"
        return NOT_FOUND if found[2] and method == right else NOT_ALLOWED
    if found := AGENT.fullmatch(path):
        if not HEX_ID.fullmatch(found[1]):
            return 400, "invalid agent id"
        return NOT_ALLOWED if OF_AGENT.fullmatch(found[2] or "") else NOT_FOUND
    return NOT_FOUND
