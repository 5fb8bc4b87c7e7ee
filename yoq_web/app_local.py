"""AppLocal: a value of each application, found again from any request or command. ContextLocal: one of each of those.

Each part of the program that has something to keep says so beside itself:
`current_metrics = AppLocal("metrics", lambda app: Metrics())`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from flask import Flask
from flask.ctx import AppContext
from flask.globals import app_ctx

T = TypeVar("T")

# Through `current_app` and `g` each attribute takes four times as long, and a request asks forty times.
_get_context: Callable[[], AppContext] = app_ctx._get_current_object  # type: ignore[attr-defined]  # Flask's documented way

# Making one value may ask for another; and two requests must not make the same one twice.
_making = threading.RLock()


class AppLocal(Generic[T]):
    """A value of each application's own: called, it returns the current application's, or that of the one given.

    `make` makes it at its first use. Without `make` it must be `put` there when the application is built.
    """

    def __init__(self, name: str, make: Callable[[Flask], T] | None = None) -> None:
        self._key = f"yoq_{name}"
        self._make = make

    def __call__(self, app: Flask | None = None) -> T:
        """Return the value. Raises RuntimeError where there is no application, or one that does not have it."""
        found = _get_context().app if app is None else app
        if self._key not in found.extensions:
            self._fill(found)
        return cast("T", found.extensions[self._key])

    def put(self, app: Flask, value: T) -> None:
        """Give an application this value, in the place of any other."""
        app.extensions[self._key] = value

    def _fill(self, app: Flask) -> None:
        with _making:
            if self._key in app.extensions:
                return
            if self._make is None:
                raise RuntimeError(f"this application has no {self._key}: build it with create_app()")
            app.extensions[self._key] = self._make(app)


_EMPTY: Mapping[str, Any] = MappingProxyType({})


class ContextLocal(Generic[T]):
    """A value of each request's or command's own, kept on `flask.g`: called, it returns the current one's.

    All of them together are one object that never changes: another takes its place. So what the core keeps can be saved
    and restored at once, around code that may do anything to `g`.
    """

    def __init__(self, name: str, default: T) -> None:
        self._name = name
        self._default = default

    def __call__(self) -> T:
        """Return the value, the default if none was put there. Raises RuntimeError outside of an app context."""
        return cast("T", save_context().get(self._name, self._default))

    def put(self, value: T) -> None:
        """Give the current request or command this value, in the place of any other."""
        restore_context(MappingProxyType({**save_context(), self._name: value}))


def save_context() -> Mapping[str, Any]:
    """Return all the values of the current request or command."""
    found = _get_context().g.get("yoq_context")
    return found if isinstance(found, MappingProxyType) else _EMPTY  # a plugin may have put something else there


def restore_context(values: Mapping[str, Any] = _EMPTY) -> None:
    """Put these values in the place of all that there are, by default none."""
    _get_context().g.yoq_context = values
