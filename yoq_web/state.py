"""State: what create_app() built for one application, by name and type; found again from any request or command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import Flask, current_app

if TYPE_CHECKING:
    from yoq_web.contributions.registry import Registry
    from yoq_web.hooks.host import PluginHost
    from yoq_web.http.login_throttle import Attempts
    from yoq_web.metrics import Metrics
    from yoq_web.operations.intents import Intents
    from yoq_web.operations.spool import Spool
    from yoq_web.settings import Settings


@dataclass(kw_only=True)
class State:
    """One application's parts."""

    settings: Settings
    metrics: Metrics
    attempts: Attempts
    plugins: PluginHost
    registry: Registry
    spool: Spool
    intents: Intents
    recover: Callable[[], object]
    """Called when something may be replayed from the spool."""
    pulses: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """What the core's domains do once a second, by domain."""
    faint: set[str] = field(default_factory=set)
    """The domains whose pulse failed the last time."""
    outages: set[str] = field(default_factory=set)
    """The recorders that failed and have not recovered."""
    write_lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the serving process was told to end: answers that go on and on should come to theirs."""


def state_of(app: Flask) -> State:
    """The parts of `app`."""
    found = app.extensions["yoq"]
    assert isinstance(found, State)  # noqa: S101 - narrows the type of Flask's untyped registry
    return found


def state() -> State:
    """The parts of the current application."""
    return state_of(current_app._get_current_object())  # type: ignore[attr-defined]  # Flask's documented way
