"""Authentication: whose request this is, asked of the plugins first and of the core's own authenticators last."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask import Request, request

from yoq_web.actors import Actor
from yoq_web.app_local import AppLocal
from yoq_web.hooks.errors import HOOK_ERRORS, Rejected, isolate
from yoq_web.hooks.host import Implementation, current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.problems import Problem

HOOK = "yoq_authenticate"

SCHEME = "bearer"


@dataclass(frozen=True)
class Authenticator:
    """Somebody who can tell whose request it is: `authenticate` returns the actor, or None for "not mine".

    It raises Rejected for credentials that are bad. With a `scope` it is asked for routes that need that very scope,
    and there nobody else is.
    """

    authenticate: Callable[[Request], Actor | None]
    scope: str | None = None


current_authenticators: AppLocal[list[tuple[str, Authenticator]]] = AppLocal("authenticators", lambda _app: [])
"""Every contributed authenticator with its owner, in the order in which they are asked: plugins' before the core's."""


def authenticate(scope: str | None = None) -> Actor | None:
    """Return the request's actor, or None. `scope` is what the route needs, if it is known.

    Raises a Problem (503) if an authenticator fails: then nobody is let in.
    """
    for owner, ask in _list_authenticators(scope):
        try:
            with isolate():
                actor = ask(request)
            if actor is not None and not isinstance(actor, Actor):
                raise TypeError(f"{HOOK} returned {type(actor).__name__}, not an Actor")
        except Rejected:
            return None
        except Problem:
            raise
        except HOOK_ERRORS as error:
            if owner not in current_host().plugins:
                raise  # ours: the database does not answer
            report_hook_failure(owner, HOOK, error)
            raise Problem(503, "authentication unavailable", f"the plugin {owner} failed") from error
        if isinstance(actor, Actor):
            return actor
    return None


def read_bearer(asked: Request) -> str | None:
    """Read the token of `Authorization: Bearer …`, the scheme in any case; None if there is none."""
    scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == SCHEME else None


def _list_authenticators(scope: str | None) -> Iterator[tuple[str, Callable[[Request], object]]]:
    contributed = current_authenticators()
    own = [(owner, one.authenticate) for owner, one in contributed if scope is not None and one.scope == scope]
    if own:
        yield from own
        return
    for ask in current_host().find_implementations(HOOK):
        yield ask.plugin, functools.partial(_ask, ask)
    yield from ((owner, one.authenticate) for owner, one in contributed if one.scope is None)


def _ask(implementation: Implementation, asked: Request) -> object:
    found: object = implementation(request=asked)
    return found
