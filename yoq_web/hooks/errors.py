"""What a plugin's code may raise and what that means, and how its exits are told from the operator's."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals by which an operator ends a program."""


class Aborted(Exception):
    """A plugin raised what is no Exception, as SystemExit; that is the cause of this. To exit is to fail."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"it raised {type(cause).__name__}")


HOOK_ERRORS = (Exception,)
"""What a plugin's code may raise without taking anything else down, where it runs under isolate()."""


class Rejected(Exception):
    """Raised by an implementation of yoq_authenticate: these credentials are bad, nobody else need look at them."""


class Veto(Exception):
    """Raised by an implementation of yoq_before_operation: the operation must not happen. The text is told and kept."""


class isolate:  # noqa: N801 - read as a verb: `with isolate():`
    """Run a plugin's code so that it ends nothing: what it raises is an Exception, Aborted for what was none.

    The operator may end the program meanwhile: what a signal's handler raises comes out as it is, whatever the plugin
    made of it. Signals are handled on the main thread, so that on any other one there is nothing to tell apart.
    """

    __slots__ = ("_handlers", "_signalled")

    def __enter__(self) -> None:
        self._signalled: BaseException | None = None
        self._handlers: list[tuple[signal.Signals, Any, Any]] = []
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                handler = signal.getsignal(number)
                if callable(handler):
                    watching = self._watch(handler)
                    signal.signal(number, watching)
                    self._handlers.append((number, watching, handler))

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        for number, watching, handler in self._handlers:
            if signal.getsignal(number) is watching:
                signal.signal(number, handler)
        if self._signalled is not None and error is not self._signalled:
            raise self._signalled
        if error is not None and error is not self._signalled and not isinstance(error, Exception):
            raise Aborted(error) from error

    def _watch(self, handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
        def handle(number: int, frame: FrameType | None) -> Any:
            try:
                return handler(number, frame)
            except BaseException as error:
                self._signalled = error
                raise

        return handle


def find_raised(error: BaseException) -> BaseException:
    """Return what a plugin raised, where isolate() made an Aborted of it."""
    return error.__cause__ if isinstance(error, Aborted) and error.__cause__ is not None else error


def read_text(error: BaseException) -> str:
    """Return an error's text as both databases can store it, whatever a plugin's class makes of it."""
    try:
        with isolate():
            return str(error).encode(errors="replace").decode()
    except HOOK_ERRORS:
        return "an error that cannot say what it is"
