"""Bodies: what requests wait for from their clients, for so long and no more of them than a share.

A server's thread that reads a body waits for as long as its client likes. So it is watched from outside: a body that
does not arrive is answered in the thread's stead, and its connection ended, which ends the thread's reading.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from flask import Response, current_app, request

from yoq_web.actors import current_actor
from yoq_web.app_local import AppLocal
from yoq_web.database.session import release_connection
from yoq_web.hooks.errors import HOOK_ERRORS, isolate
from yoq_web.http import concurrency
from yoq_web.http.connections import CLOSE_WAIT, ESTABLISHED, Connection, list_connections
from yoq_web.logs import current_request_id
from yoq_web.operations.event import current_peer
from yoq_web.problems import Problem, render_problem

WHOLE_SECONDS = 10.0
"""How long a body may take to arrive."""

LATE_SECONDS = 1.0
"""When a body is late: of those there may be only so many."""

LATE = 64
"""Late bodies that one process waits for."""

SHARE = 16
"""Late bodies of one actor, and of one address."""

ANSWERING_SECONDS = 1.0
"""How long an answer takes at most from the call of the server to its connection."""

CLOCK_SECONDS = 0.05
"""How far the system's times of a connection may be off."""

HEAD_BYTES = 1024
"""More bytes than this no answer's head has."""

AGAIN = {"Retry-After": str(round(WHOLE_SECONDS))}

ANSWER = "yoq.answer"
"""The environ's name of the function that answers its request from another thread: status, headers, body."""

T = TypeVar("T")

Answer = Callable[[int, list[tuple[str, str]], bytes], object]


@dataclass(eq=False)
class Awaited:
    """A body that a request waits for."""

    answer: Answer | None
    actor: str
    peer: str | None
    context: Context = field(default_factory=copy_context)
    since: float = field(default_factory=time.monotonic)
    problem: Problem | None = None
    over: bool = False


class Bodies:
    """The bodies that this process waits for."""

    def __init__(self) -> None:
        self._awaited: dict[int, Awaited] = {}

    def begin(self, body: Awaited) -> None:
        """Note that a body is awaited."""
        self._awaited[id(body)] = body

    def end(self, body: Awaited) -> None:
        """Note that a body is awaited no more. Raises the problem that was answered meanwhile, if one was."""
        body.over = True
        # Whoever takes it out of the table decides: the client that sent it, or end_late().
        if self._awaited.pop(id(body), None) is None and body.problem:
            raise body.problem

    def end_late(self) -> None:
        """Answer the requests whose bodies are too late, or too many, and end their connections."""
        judged = [(body, problem) for body, problem in self._judge(time.monotonic()) if body.answer]
        if not judged:
            return
        long_ago = LATE_SECONDS - CLOCK_SECONDS
        silent = {found.descriptor: found for found in list_connections() if found.since_sent >= long_ago}
        answered, longest = [], 0
        for body, problem in judged:
            body.problem = problem
            if self._awaited.pop(id(body), None) is not None:
                longest = max(longest, _answer(body, problem))
                answered.append(body)
        _end_answered(answered, silent, longest)

    def _judge(self, now: float) -> Iterator[tuple[Awaited, Problem]]:
        """Tell which bodies are waited for no longer, and why: the oldest may wait, as long as there is room."""
        kept: Counter[tuple[str, str | None]] = Counter()
        count = 0
        late = [body for body in list(self._awaited.values()) if now - body.since >= LATE_SECONDS]
        for body in sorted(late, key=lambda body: body.since):
            owners = (("actor", body.actor), ("peer", body.peer))
            if now - body.since >= WHOLE_SECONDS:
                yield body, Problem(408, "request timed out", f"its body took longer than {WHOLE_SECONDS:.0f} seconds")
            elif any(kept[owner] >= SHARE for owner in owners):
                yield body, Problem(429, "too many slow bodies", f"{SHARE} of yours have not arrived", AGAIN)
            elif count >= LATE:
                yield body, Problem(503, "too many slow bodies", f"{LATE} have not arrived", AGAIN)
            else:
                kept.update(owners)
                count += 1


current_bodies: AppLocal[Bodies] = AppLocal("bodies", lambda _app: Bodies())


def _answer(body: Awaited, problem: Problem) -> int:
    """Answer a request in its thread's stead; returns how long the answer's body is."""
    response = body.context.run(_render, problem)
    document = response.get_data()
    if body.answer:
        body.answer(response.status_code, list(response.headers), document)
    return len(document)


def _render(problem: Problem) -> Response:
    """Render a problem as the route would answer it: those of a plugin may have a form of their own."""
    response = render_problem(problem)
    for name in request.blueprints:
        for finish in current_app.after_request_funcs.get(name, ()):
            with suppress(*HOOK_ERRORS), isolate():
                response = current_app.ensure_sync(finish)(response)
    response.headers |= {"Connection": "close", "X-Request-Id": current_request_id(), "Cache-Control": "no-store"}
    return response


def _end_answered(answered: list[Awaited], silent: dict[int, Connection], longest: int) -> None:
    """End the connections on which these answers go out: they were silent until now, and each answer is short.

    Another one whose answer goes out at this very moment has it, and is ended as an idle one may be at any time.
    """
    until = time.monotonic() + ANSWERING_SECONDS
    while not all(body.over for body in answered) and time.monotonic() < until:
        for found in list_connections():
            before = silent.get(found.descriptor)
            if before and before.peer == found.peer and before.sent < found.sent <= before.sent + longest + HEAD_BYTES:
                found.end()
                del silent[found.descriptor]
        time.sleep(0.005)


class Body:
    """A request's body as the server gives it: `wsgi.input`, read as any other, watched while it is waited for."""

    def __init__(self, stream: BinaryIO, *, chunked: bool) -> None:
        self._stream = stream
        self._chunked = chunked
        self._awaited: Awaited | None = None
        self._ended = False

    def read(self, size: int | None = None) -> bytes:
        """Read as many bytes, fewer at the end. Raises a Problem if the body does not arrive, or breaks off."""
        if self._ended:
            return b""
        found = self._wait(lambda: self._stream.read() if size is None or size < 0 else self._stream.read(size))
        self._ended = size is None or size < 0 or len(found) < size
        if self._ended and self._chunked and self._is_broken():
            raise Problem(400, "malformed request", "the body ended before its last chunk")
        return found

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        return self._wait(lambda: self._stream.readline(size))

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Read all lines."""
        return self._wait(lambda: self._stream.readlines(hint))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _wait(self, read: Callable[[], T]) -> T:
        body = self._awaited = self._awaited or Awaited(
            request.environ.get(ANSWER), current_actor().label, current_peer()
        )
        release_connection()
        was_at_work = concurrency.end_turn()
        bodies = current_bodies()
        bodies.begin(body)
        try:
            found = read()
        finally:
            bodies.end(body)
        if was_at_work:
            concurrency.take_turn()
        return found

    def _is_broken(self) -> bool:
        """Tell whether a body in chunks ended because its client has left; the server gives what came, without a word.

        A client that has closed its side of a connection hears no answer in any case.
        """
        if self._awaited is None or self._awaited.answer is None:
            return False
        age = time.monotonic() - self._awaited.since
        peer, port = request.remote_addr, request.environ.get("SERVER_PORT")
        states = {
            found.state
            for found in list_connections()
            if found.peer == peer and str(found.port) == port and found.since_sent >= age - CLOCK_SECONDS
        }
        return CLOSE_WAIT in states or ESTABLISHED not in states


def watch_body(environ: dict[str, Any]) -> None:
    """Have a request's body watched while it is waited for, if it has one."""
    chunked = "HTTP_TRANSFER_ENCODING" in environ
    if chunked or environ.get("CONTENT_LENGTH", "0") != "0":
        environ["wsgi.input"] = Body(environ["wsgi.input"], chunked=chunked)
