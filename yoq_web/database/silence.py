"""Silence: PostgreSQL servers that take connections and say nothing, as one does that is stopped or whose disk hangs.

The driver waits for an answer without a limit, since a statement may take its time, and the system's own timeouts do
not help: its network goes on confirming what arrives. So where an answer is late, the server is asked on a connection
of its own whether it still answers anybody. While it does, statements may take as long as they like.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from flask import has_request_context
from psycopg.waiting import Ready, Wait
from sqlalchemy import Engine

from yoq_web.database.engine import measure_overtime

SECONDS = 1.0
"""How long a connection may say nothing before the server is asked."""

ANSWER_SECONDS = 2
"""How long the server may take to answer then, and to take a connection, in whole seconds as the driver wants it."""

MUTE_SECONDS = 0.2
"""How long a connection may say nothing while the server is known not to answer, and how often that is asked then."""

REQUEST_SECONDS = 60.0
"""How long a request waits for a connection that alone says nothing, while the server answers others."""

LATE_SECONDS = 1.5
"""How long a request whose client gives up at some moment goes on waiting after that; yoq's programs wait for two."""

TIMEOUTS = {
    "connect_timeout": ANSWER_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""What the driver and the system do about servers that take no connection, and whose machine is gone."""

T = TypeVar("T")

Reading = Generator[Wait, Ready | int, T]
"""What the driver does while it waits: it says what for, and is told what there is."""


class Silent(psycopg.OperationalError):
    """The server has not answered in time."""

    def __init__(self) -> None:
        super().__init__("the server does not answer")


class Connection(psycopg.Connection[Any]):
    """A connection that gives up when it should: `is_over` is asked, with the seconds for which nothing has come."""

    is_over: Callable[[float], bool] | None = None

    def wait(self, gen: Reading[T], *arguments: Any, **options: Any) -> T:
        """Wait for what the driver reads. Raises Silent, and closes the connection, if it gives up."""
        return super().wait(self._read(gen) if self.is_over else gen, *arguments, **options)

    def _read(self, reading: Reading[T]) -> Reading[T]:
        try:
            wanted = next(reading)
            heard = time.monotonic()
            while True:
                ready = yield wanted
                if ready != Ready.NONE:
                    heard = time.monotonic()
                elif self.is_over and self.is_over(time.monotonic() - heard):
                    self.pgconn.finish()
                    raise Silent
                wanted = reading.send(ready)
        except StopIteration as ended:
            found: T = ended.value
            return found


class Server:
    """What is known of a server: whether it answers."""

    def __init__(self, engine: Engine) -> None:
        self._arguments, self._parameters = engine.dialect.create_connect_args(engine.url)
        self._lock = threading.Lock()
        self._asking = False
        self._answered = float("-inf")
        self._mute = False

    def connect(self, *arguments: Any, **parameters: Any) -> Connection:
        """Connect to it. Raises OperationalError, at once if the server is known not to answer."""
        if self._mute:
            raise Silent
        try:
            connection = Connection.connect(*arguments, **{**TIMEOUTS, **parameters})  # what the URL says holds
        except psycopg.errors.ConnectionTimeout:
            self._begin_asking()
            raise
        connection.is_over = self._is_over
        return connection

    def _is_over(self, silent: float) -> bool:
        """Tell whether to give up a connection on which nothing has come for so long."""
        if self._mute:
            return silent >= MUTE_SECONDS
        if silent >= SECONDS:
            self._begin_asking()
        return measure_overtime() >= LATE_SECONDS or (has_request_context() and silent >= REQUEST_SECONDS)

    def _begin_asking(self) -> None:
        with self._lock:
            if self._asking or time.monotonic() - self._answered < ANSWER_SECONDS:
                return
            with suppress(RuntimeError):  # no thread can be started: the next one who waits tries again
                threading.Thread(target=self._ask, name="silence", daemon=True).start()
                self._asking = True

    def _ask(self) -> None:
        while not self._answers():
            self._mute = True
            time.sleep(MUTE_SECONDS)
        with self._lock:
            self._mute, self._asking, self._answered = False, False, time.monotonic()

    def _answers(self) -> bool:
        parameters = {**self._parameters, "connect_timeout": ANSWER_SECONDS}
        try:
            with Connection.connect(*self._arguments, **parameters) as connection:
                # A pooler takes connections by itself.
                connection.is_over = lambda silent: silent >= ANSWER_SECONDS
                connection.execute("SELECT 1")
        except (psycopg.errors.ConnectionTimeout, Silent):
            return False
        except (psycopg.Error, OSError):
            pass  # a refusal is an answer
        return True


def watch_server(engine: Engine) -> None:
    """Have the connections of a PostgreSQL engine given up when its server does not answer."""
    # Not by a listener of `do_connect`: the first that makes a connection is the last that is asked.
    engine.dialect.connect = Server(engine).connect  # type: ignore[assignment,method-assign]  # the driver is untyped there
