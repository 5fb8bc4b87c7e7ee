"""AppLocal: one value for each application, found again from any request or command of it.

Each part of the program that has something to keep for an application says so beside itself:
`current_metrics = AppLocal("metrics", lambda app: Metrics())`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from flask import Flask, current_app

T = TypeVar("T")

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
        extensions = (app or current_app).extensions
        if self._key not in extensions:
            self._fill(current_app._get_current_object() if app is None else app)  # type: ignore[attr-defined]  # Flask's documented way
        return cast("T", extensions[self._key])

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
