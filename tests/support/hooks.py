"""Implementations of hooks that raise, and an operation that calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from flask import Flask

from tests.conftest import Api
from yoq_web.hooks.host import current_host


class Own(BaseException):
    """What nobody expects to be raised."""


WRONG = [RuntimeError("hunter2"), SystemExit("hunter2"), KeyboardInterrupt("hunter2"), GeneratorExit(), Own("hunter2")]
SECRET = {"name": "db", "value": "hunter2"}

wrong = pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """An implementation of any hook that raises."""

    def implementation() -> NoReturn:
        raise error

    return implementation


def set_secret(api: Api) -> int:
    """Perform an operation; returns the status."""
    return api("POST", "/v1/secrets", json=SECRET).status_code


def told(app: Flask) -> None:
    """Wait until every plugin was told of what happened."""
    current_host(app).drain(10)
