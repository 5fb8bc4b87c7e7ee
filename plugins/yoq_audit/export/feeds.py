"""Feeds: answers over HTTP that go on for long. What keeps them from holding up everything else stands here.

A feed occupies a thread of the server, so there are only so many at once, and each ends after some time. The server
ends the connection of a reader that does not read. A feed holds no connection of the database but for the moment of
each query, and goes on only as long as the token it was asked with is good.
"""

from __future__ import annotations

import io
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask, request
from sqlalchemy.exc import SQLAlchemyError
from structlog.stdlib import get_logger

from yoq_web import (
    AppLocal,
    Problem,
    authenticate,
    current_actor,
    current_shutdown,
    render_exception,
    translate_database_error,
)

logger = get_logger("yoq_web")

MOST = {"exports": 4, "streams": 16}
"""Feeds of each kind that one process serves at once, of its 64 threads."""

LIFE_SECONDS = 3600.0
"""How long a feed lives at most; a stream's client then connects anew."""

CHECK_SECONDS = 1.0
"""How often a feed looks whether it may go on."""

STOPPING_SECONDS = 10.0
"""How long a feed that comes to an end by itself may take to do so when the server was told to end."""

BUSY_SECONDS = 5
"""When a client that was turned away may try again."""


class EndOfFeed(Exception):
    """A feed must end; the message says why."""


class Slots:
    """How many more feeds of each kind an application may serve in this process."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.free = {kind: threading.BoundedSemaphore(most) for kind, most in MOST.items()}


current_slots: AppLocal[Slots] = AppLocal("audit_feeds", Slots)


class Feed:
    """One long answer: give it to the response as its body. A slot of its kind is taken when it is made.

    Raises a 503 if there is none.
    """

    def __init__(self, kind: str, scope: str) -> None:
        slots = current_slots()
        if not slots.free[kind].acquire(blocking=False):
            reason = f"this process serves {MOST[kind]} {kind} at once"
            raise Problem(503, f"too many {kind}", reason, {"Retry-After": str(BUSY_SECONDS)})
        # Given back by close(), or if nobody ever calls it with the feed itself.
        self._leave = weakref.finalize(self, slots.free[kind].release)
        self._pieces: Iterator[bytes] = iter(())
        self.lifetime = Lifetime(slots.app, request.environ, scope)

    def send(self, pieces: Iterator[bytes], encode_error: Callable[[str], bytes]) -> Feed:
        """Return this feed with what it is to send; `encode_error` writes the last piece where it breaks off."""
        self._pieces = _send(pieces, encode_error, self.lifetime)
        return self

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """End it; called by the server, whatever happened."""
        try:
            if close := getattr(self._pieces, "close", None):
                close()
        finally:
            self._leave()


def _send(pieces: Iterator[bytes], encode_error: Callable[[str], bytes], lifetime: Lifetime) -> Iterator[bytes]:
    try:
        for piece in pieces:
            if piece:  # an empty one would end the answer for some servers
                yield piece
            lifetime.check()
    except EndOfFeed as end:
        yield encode_error(str(end))
    except Exception as error:  # noqa: BLE001 - whatever it is, the server would end the answer as if it were whole
        logger.error("a feed broke off", exception=render_exception(error))  # noqa: TRY400 - render_exception() leaves values out
        yield encode_error(describe_error(error))


class Lifetime:
    """For how long a feed may go on."""

    def __init__(self, app: Flask, environ: Mapping[str, Any], scope: str) -> None:
        self._app = app
        self._scope = scope
        self._actor = current_actor()
        # What an authenticator may look at again, without the body and what hangs on the finished request.
        self._environ = {name: value for name, value in environ.items() if isinstance(value, str | tuple | bool)}
        self._end = time.monotonic() + LIFE_SECONDS
        self._checked = time.monotonic()

    def check(self) -> None:
        """Raise EndOfFeed if the feed must end; looked at no more often than it is worth."""
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        if current_shutdown(self._app).is_set():
            self._end = min(self._end, now + STOPPING_SECONDS)
        if now > self._end:
            raise EndOfFeed("the time of this answer is over; ask again from where it ended")
        if reason := self._find_refusal():
            raise EndOfFeed(reason)

    def wait(self) -> None:
        """Wait for the next look, and look. Raises EndOfFeed if the feed must end, or if the server is about to."""
        if current_shutdown(self._app).wait(CHECK_SECONDS):
            raise EndOfFeed("the server ends")
        self.check()

    def _find_refusal(self) -> str | None:
        """Tell why who asked may not read on, if so. Whatever cannot be decided is refused, as for a request."""
        with self._app.request_context({**self._environ, "wsgi.input": io.BytesIO()}):
            try:
                actor = authenticate()
            except (Problem, SQLAlchemyError):
                return "whether the token is still good cannot be told now; ask again"
        good = actor is not None and actor.label == self._actor.label and actor.allows(self._scope)
        return None if good else "the token is not good any more"


def describe_error(error: Exception) -> str:
    """Say what a client may know of an error that ended its feed."""
    if isinstance(error, SQLAlchemyError):
        problem = translate_database_error(error)
        return problem.error if problem else "internal error"
    return error.error if isinstance(error, Problem) else "internal error"
