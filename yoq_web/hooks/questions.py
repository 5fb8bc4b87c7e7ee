"""Questions: what may never answer is asked on a thread of its own, and waited for only so long."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

from flask import current_app, g

from yoq_web.app_local import AppLocal

T = TypeVar("T")

current_debts: AppLocal[Counter[str]] = AppLocal("debts", lambda _app: Counter())
"""How many answers are owed to those who wait no more, by who was asked."""

_changing = threading.Lock()


class Unanswered(Exception):
    """There is no answer: it did not come in time, the question could not be put, or too many answers are owed."""


class Question(Generic[T]):
    """One question, being asked. Whoever owes `most` answers to earlier ones is not asked until one of them has come.

    `ask` sees the request and the values of `flask.g` as they are now, and returns or raises what wait() will.
    `was_put` says whether it was asked at all.
    """

    def __init__(self, whom: str, ask: Callable[[], T], *, most: int = 1) -> None:
        self._whom = whom
        self._ask = ask
        self._debts = current_debts()
        self._answered = threading.Event()
        self._owed = False
        self._answer: T | None = None
        self._error: BaseException | None = None
        self.was_put = self._debts[whom] < most
        self._refusal = "earlier answers are still owed"
        if self.was_put:
            asking = contextvars.copy_context()
            thread = threading.Thread(target=asking.run, args=(self._work, dict(vars(g))), name=whom, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread can be started
                self.was_put = False
                self._refusal = str(error)

    def wait(self, until: float) -> T:
        """Wait for the answer until a moment in the time of time.monotonic(). Raises Unanswered, or what was raised."""
        if not self.was_put:
            raise Unanswered(self._refusal)
        if not self._answered.wait(max(0.0, until - time.monotonic())):
            with _changing:
                if not self._answered.is_set():
                    self._owed = True
                    self._debts[self._whom] += 1
                    raise Unanswered("no answer in time")
        if self._error is not None:
            raise self._error
        return cast("T", self._answer)

    def _work(self, kept: Mapping[str, Any]) -> None:
        try:
            with current_app.app_context():
                vars(g).update(kept)
                self._answer = self._ask()
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            self._error = error
        with _changing:
            self._answered.set()
            if self._owed:
                self._debts[self._whom] -= 1
