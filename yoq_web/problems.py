"""Problems: the one error format, RFC 9457 `application/problem+json` with yoq's `error` member first."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, json, request
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from structlog.stdlib import get_logger
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from yoq_web.logs import current_request_id, render_exception

log = get_logger("yoq_web")

TEXTS = {400: "malformed request", 413: "request body too large"}
"""What yoq says for a status; for the others the status phrase in lower case."""

MISSING = ("42P01", "42703")
"""What PostgreSQL calls a table and a column that are not there; SQLite has an OperationalError for both."""


class Problem(Exception):
    """An error to tell the caller: over HTTP as a problem document, on the command line as one line and exit code 1.

    `error` is the short text that clients match on, `detail` says more for people. Neither may hold a secret value.
    The trail has `reason`, which is `error` unless told: it may say more there.
    """

    def __init__(
        self,
        status: int,
        error: str,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.detail = detail
        self.reason = reason or error
        self.headers = dict(headers or {})


class NotFound(Problem):
    """What the caller named is not there (404). An operation that ends so did not take place and leaves no entry."""

    def __init__(self, error: str = "not found", detail: str | None = None) -> None:
        super().__init__(404, error, detail)


class Denied(Problem):
    """The actor may not do this, or a plugin vetoed it (403). Recorded with the outcome `denied`."""

    def __init__(self, error: str = "forbidden: insufficient scope", detail: str | None = None) -> None:
        super().__init__(403, error, detail)


def render_problem(problem: Problem) -> Response:
    """Render the problem as a response. The status phrase is the title; `request_id` finds the log lines."""
    document: dict[str, object] = {
        "error": problem.error,
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
    }
    if problem.detail:
        document["detail"] = problem.detail
    if request_id := current_request_id():
        document["request_id"] = request_id
    body = json.dumps(document)
    return Response(body, problem.status, problem.headers, mimetype="application/problem+json")


def translate_database_error(error: SQLAlchemyError) -> Problem | None:
    """Translate an error of the database to what it means to its cause; None for a defect of ours or a plugin's."""
    if isinstance(error, IntegrityError):
        return Problem(
            409, "conflict", "it clashes with what is stored: a name is taken, or something it needs is not there"
        )
    if isinstance(error, DataError):
        return Problem(400, "a value cannot be stored", "a text holds NUL or is too long, or a number is out of range")
    missing = isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) in MISSING
    # What is exactly a DatabaseError is SQLite's: a damaged file, or none of its own.
    if missing or type(error) is DatabaseError or isinstance(error, OperationalError | PoolTimeout):
        # A connection that breaks during a commit leaves it open whether the change was made.
        return Problem(503, "database unavailable", "the trail says whether anything was changed")
    return None


def init_app(app: Flask) -> None:
    """Answer every exception of a request with a problem; a defect of ours is logged whole and told as 500."""

    @app.errorhandler(Problem)
    def answer_problem(problem: Problem) -> Response:
        return render_problem(problem)

    @app.errorhandler(HTTPException)
    def answer_http_exception(error: HTTPException) -> Response:
        status = error.code or 500
        text = TEXTS.get(status, HTTPStatus(status).phrase.lower())
        headers = {name: value for name, value in error.get_headers() if name == "Retry-After"}
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = ", ".join(error.valid_methods or ())
        return render_problem(Problem(status, text, headers=headers))

    @app.errorhandler(SQLAlchemyError)
    def answer_database_error(error: SQLAlchemyError) -> Response:
        problem = translate_database_error(error)
        if problem is None:
            return answer_defect(error)
        said = "the database does not answer" if problem.status == 503 else "the database refused a change"
        log.error(said, path=request.path, error=type(error).__name__, exception=render_exception(error))
        return render_problem(problem)

    @app.errorhandler(Exception)
    def answer_defect(error: Exception) -> Response:
        log.error("request failed", path=request.path, error=type(error).__name__, exception=render_exception(error))
        return render_problem(Problem(500, "internal error"))
