"""What yoq's clients need of every answer: compact JSON, errors of one member, and a connection that is closed."""

from __future__ import annotations

import json

from flask import Blueprint, Response, request

from yoq_web import Problem, dumps, is_plain_text, set_deadline
from yoq_wire.limits import CLIENT_LIMIT
from yoq_wire.unknown import HEX_ID, choose_refusal

PATIENCE = 3.0
"""Seconds to wait for other writers: yoq's programs abort if no byte comes in five."""

PATIENCE_WITH_BEATS = 1.0
"""The same for heartbeats, of which there are many: the next one comes soon, and one that is missed does no harm."""


def make_blueprint(name: str) -> Blueprint:
    """A blueprint whose answers, refusals of the guard among them, are as yoq's clients expect them."""
    made = Blueprint(f"wire_{name}", __name__)
    made.before_request(check_path)
    made.after_request(finish_answer)
    return made


def check_path() -> None:
    """Refuse ids and names in a path that yoq would not take, before a look at the body."""
    set_deadline(PATIENCE)
    named = request.view_args or {}
    if "agent" in named and not HEX_ID.fullmatch(named["agent"]):
        raise Problem(400, "invalid agent id")
    if "app" in named and not is_plain_text(named["app"]):
        raise Problem(400, "invalid app name")


def finish_answer(response: Response) -> Response:
    """Close the connection, or the client waits for its end; of a problem tell the `error` alone.

    What is too long in spite of all is an error: the client would not survive it.
    """
    response.headers["Connection"] = "close"
    status, error = response.status_code, None
    if response.mimetype == "application/problem+json":
        error = json.loads(response.get_data())["error"]
    if request.method == "HEAD" and status == 405:
        # No route of yoq's takes HEAD for GET; the core says 405 for any.
        status, error = choose_refusal(request.method, request.path)
        response.headers.pop("Allow", None)
    if len(response.get_data()) > CLIENT_LIMIT:
        status, error = 500, "the answer is too long for this client"
    if error is not None:
        response.status_code = status
        response.set_data(dumps({"error": error}))
        response.content_type = "application/json"
    return response
