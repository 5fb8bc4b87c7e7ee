"""Concurrency: how many requests of one process are at work at once. Who waits for a client is not at work."""

from __future__ import annotations

import threading

from flask import Flask, request

from yoq_web.app_local import AppLocal
from yoq_web.problems import Problem

REQUESTS = 64
"""Requests of one process at work at once; on SQLite one process with threads beats several processes."""

WAIT_SECONDS = 4.0
"""How long a request waits for its turn. yoq's programs abort when they hear nothing for five."""

AT_WORK = "yoq.at_work"
"""The environ's mark of a request that has its turn."""

current_turns: AppLocal[threading.Semaphore] = AppLocal("turns", lambda _app: threading.Semaphore(REQUESTS))


def init_app(app: Flask) -> None:
    """End a request's turn with the request."""

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        end_turn()


def take_turn() -> None:
    """Wait until this request may go to work. Raises a 503 if too many others are at it."""
    if not current_turns().acquire(timeout=WAIT_SECONDS):
        raise Problem(503, "too many requests at once", f"{REQUESTS} others did not end", {"Retry-After": "1"})
    request.environ[AT_WORK] = True


def end_turn() -> bool:
    """Let the next request go to work, if this one was; returns whether it was."""
    if not request.environ.pop(AT_WORK, False):
        return False
    current_turns().release()
    return True
