"""endpoint(): declares what a route needs, takes and answers, for guarding, validating and documenting it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ParamSpec, get_origin

from flask import Response, current_app, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from yoq_web.database.pages import Page
from yoq_web.hooks.errors import isolate
from yoq_web.http.pages import make_page_link
from yoq_web.http.validation import choose_extra, explain_invalid, explain_unknown, refuse_repeated
from yoq_web.jsontext import dumps
from yoq_web.names import check_storable
from yoq_web.operations.event import current_events
from yoq_web.operations.operation import Operation
from yoq_web.problems import Problem

READING = ("GET", "HEAD")
MAX_BODY = 1024 * 1024
"""Bytes of a request's body; more is answered 413."""

NOTHING = (b"", b"{}")
"""What many clients send where a route takes no body."""

P = ParamSpec("P")


class Status(BaseModel):
    """What happened to the thing named in the request."""

    status: str


@dataclass(frozen=True)
class Declaration:
    """What endpoint() was told about a route."""

    operation: Operation | None
    scope: str | None
    body: type[BaseModel] | None
    raw: bool
    query: type[BaseModel] | None
    answer: Any
    status: int
    media_type: str
    errors: Mapping[int, str | type[BaseModel]]
    unaudited: str | None
    target: Callable[..., object] | None
    hidden: bool
    at_once: bool
    lenient: bool
    summary: str
    description: str

    @property
    def public(self) -> bool:
        """Whether the route needs no credentials."""
        return self.scope is None

    @property
    def head(self) -> bool:
        """Whether HEAD is answered as GET is, without the body: not where something is performed, nor as yoq."""
        return self.operation is None and not self.hidden


def endpoint(
    operation: Operation | None = None,
    *,
    scope: str | None = None,
    public: bool = False,
    body: type[BaseModel] | None = None,
    raw: bool = False,
    query: type[BaseModel] | None = None,
    answer: Any = Status,
    status: int = 200,
    media_type: str = "application/json",
    errors: Mapping[int, str | type[BaseModel]] = MappingProxyType({}),
    unaudited: str | None = None,
    target: Callable[..., object] | None = None,
    hidden: bool = False,
    at_once: bool = False,
    lenient: bool = False,
) -> Callable[[Callable[P, object]], Callable[P, Response]]:
    """Declare the view below it: `@blueprint.post(…)`, then `@endpoint(…)`, then the function.

    Give the operation that the route performs, or for a route that only reads the `scope` that it needs. `body` and
    `query` are validated before the view is called with them under these names; `answer` is the type that the view
    returns: a model, or a dict, list or string of the same form. `errors` describes further statuses: a text for a
    problem, or the model that is answered instead of one. `media_type` may be several, with commas between, where the
    view returns a Response of one of them. With `raw` the view gets the body as the bytes that were sent, checks them
    itself and may find none; the model only describes them. A route that writes without performing an operation says
    why in `unaudited`. `target` is called with the view's arguments and returns the operation's
    target, or that and a mapping of details which tell it apart: a denied attempt is recorded with them. It need not
    be given where that is the path's only variable. Another spelling of a route is left out of the API's description
    (`hidden`). What does little and needs no database is answered `at_once`, however many requests are at work; so is
    what is public. Where a GET performs no operation HEAD is answered like it, without the body; else, and with yoq's
    own routes, it is a 405. Parameters, members of the body and bodies that the route does not take are refused, and
    so is what is given twice; a route that must take whatever its clients send is `lenient`, a public one ignores them
    always. Raises TypeError unless exactly one is given of operation, scope and `public`.
    """
    if [operation is not None, scope is not None, public].count(True) != 1:
        raise TypeError("endpoint() needs one of: the operation that the route performs, the scope to read it, public")

    def declare(view: Callable[P, object]) -> Callable[P, Response]:
        summary, _, description = (view.__doc__ or "").strip().partition("\n")
        declaration = Declaration(
            operation=operation,
            scope=operation.scope if operation else scope,
            body=body,
            raw=raw,
            query=query,
            answer=answer,
            status=status,
            media_type=media_type,
            errors=errors,
            unaudited=unaudited,
            target=target,
            hidden=hidden,
            at_once=at_once,
            lenient=lenient or public,
            summary=summary.rstrip("."),
            description=" ".join(description.split()),
        )

        @functools.wraps(view)
        def answer_request(*positional: P.args, **arguments: P.kwargs) -> Response:
            for name, value in arguments.items():
                if isinstance(value, str):
                    check_name(name, value)
            arguments.update(read_input(declaration))
            with isolate():  # it may be a plugin's
                response = make_response(view(*positional, **arguments), declaration)
            if (
                (operation is not None or request.method not in READING)
                and response.status_code < 300
                and not unaudited
                and not current_events()
            ):
                raise RuntimeError(f"{request.method} {request.path} answered without having performed an operation")
            return response

        answer_request.declaration = declaration  # type: ignore[attr-defined]  # read back by find_declaration()
        return answer_request

    return declare


def find_declaration(view: Callable[..., Any] | None) -> Declaration | None:
    """Return what endpoint() declared for a view function, or None."""
    return getattr(view, "declaration", None)


def make_response(result: object, declaration: Declaration) -> Response:
    """Make a response of what a view returned: models, lists of models and plain values become compact JSON.

    A page of a list that goes on gets a Link to the next one.
    """
    if isinstance(result, Response):
        return result
    headers = {"Link": make_page_link(result.following)} if isinstance(result, Page) and result.following else None
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json")
    elif isinstance(result, list):
        result = [item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in result]
    text = result if isinstance(result, str) and declaration.media_type != "application/json" else dumps(result)
    return current_app.response_class(text, declaration.status, headers, content_type=declaration.media_type)


def read_input(declaration: Declaration) -> dict[str, Any]:
    """Read what a view takes beside the path: the query and the body. Raises a 400 for what it does not take."""
    found: dict[str, Any] = {}
    if declaration.query is not None:
        found["query"] = read_query(declaration.query, lenient=declaration.lenient)
    elif not declaration.lenient and request.args:
        raise explain_unknown("parameter", next(iter(request.args)), ())
    if declaration.body is None:
        if not declaration.lenient and receive_body().strip() not in NOTHING:
            raise Problem(400, "unexpected request body", "this takes none")
    elif declaration.raw:
        found["body"] = receive_body()
        if not declaration.lenient:
            refuse_repeated(found["body"])
    else:
        found["body"] = read_body(declaration.body, lenient=declaration.lenient)
    return found


def read_body(model: type[BaseModel], *, lenient: bool) -> BaseModel:
    """Read the request's body as `model`. Raises a 400 with yoq's text and a detail that says more."""
    raw = receive_body()
    if not raw:
        raise Problem(400, "missing request body")
    if not lenient:
        refuse_repeated(raw)
    try:
        return model.model_validate_json(raw, extra=choose_extra(model, lenient=lenient), context={"lenient": lenient})
    except ValidationError as error:
        raise explain_invalid(model, error, "member") from None


def receive_body() -> bytes:
    """Receive the request's body, whole. Raises a Problem if it is too large or ended early."""
    raw = request.get_data(cache=False)
    if request.content_length is None and len(raw) >= MAX_BODY:
        # Werkzeug cuts a body that does not say its length off at the limit, where it refuses others.
        raise RequestEntityTooLarge
    if request.content_length and len(raw) < request.content_length:
        raise Problem(400, "malformed request", "the body ended before its announced length")
    return raw


def check_name(argument: str, value: str) -> None:
    """Raise a 400 if a name from a path or a command line cannot be stored."""
    try:
        check_storable(value)
    except ValueError as error:
        raise Problem(400, f"invalid {argument}", str(error)) from None


def read_query(model: type[BaseModel], *, lenient: bool) -> BaseModel:
    """Read the query's parameters as `model`. Raises a 400 that names the parameter.

    One given twice is refused unless its field is a list; where it is `lenient` the first counts.
    """
    # What is no field stays a list: a model may have further spellings of its own.
    given: dict[str, Any] = request.args.to_dict(flat=False)
    for name, field in model.model_fields.items():
        parameter = field.alias or name
        if parameter in given and get_origin(field.annotation) is not list:
            if len(given[parameter]) > 1 and not lenient:
                raise Problem(400, f"repeated parameter {parameter}", "it can be given once")
            given[parameter] = given[parameter][0]
    try:
        return model.model_validate(given, extra=choose_extra(model, lenient=lenient))
    except ValidationError as error:
        raise explain_invalid(model, error) from None
