"""Notifying plugins: each on a thread of its own, so that one that hangs holds up neither a response nor the others."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web.hooks.errors import find_raised
from yoq_web.logs import render_exception
from yoq_web.metrics import current_metrics

log = get_logger("yoq_web")

PATIENCE = 1.0
"""How long a response waits for a plugin that is told of its operation, in seconds."""

BACKLOG = 1000
"""How many notifications may wait for a plugin that hangs; further ones are dropped, counted and logged."""


class Notifier:
    """Delivers notifications in order, a queue and a daemon thread for each plugin that is told something."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._listeners: dict[str, _Listener] = {}

    def deliver(self, plugin: str, hook: str, tell: Callable[[], object]) -> None:
        """Have `tell` called on the plugin's thread; return when it was, or when it takes too long."""
        with self._lock:
            if plugin not in self._listeners:
                self._listeners[plugin] = _Listener(self._app, plugin)
        self._listeners[plugin].deliver(hook, tell)

    def drain(self, seconds: float) -> None:
        """Wait until everything is delivered, at most so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(listener.busy for listener in self._listeners.values()):
            time.sleep(0.01)


class _Listener:
    """One plugin's queue and thread."""

    def __init__(self, app: Flask, plugin: str) -> None:
        self._app = app
        self._plugin = plugin
        self._queue: queue.Queue[tuple[str, Callable[[], object], threading.Event]] = queue.Queue(BACKLOG)
        self._late = False
        threading.Thread(target=self._work, name=f"notify-{plugin}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether something is still to be delivered."""
        return self._queue.unfinished_tasks > 0

    def deliver(self, hook: str, tell: Callable[[], object]) -> None:
        """Queue one notification; wait for it unless the plugin is late already."""
        done = threading.Event()
        try:
            self._queue.put_nowait((hook, tell, done))
        except queue.Full:
            report_hook_failure(
                self._plugin, hook, TimeoutError(f"{BACKLOG} notifications wait for the plugin: one is dropped")
            )
            return
        if not self._late and not done.wait(PATIENCE):
            self._late = True
            log.warning("a plugin is slow; responses no longer wait for it", plugin=self._plugin, hook=hook)

    def _work(self) -> None:
        while True:
            hook, tell, done = self._queue.get()
            with self._app.app_context():
                try:
                    tell()
                except BaseException as error:  # noqa: BLE001 - whatever it raises must not end this thread
                    report_hook_failure(self._plugin, hook, error)
            done.set()
            self._queue.task_done()
            if self._queue.empty():
                self._late = False


def report_hook_failure(plugin: str, hook: str, error: BaseException) -> None:
    """Log and count that a plugin's implementation of a hook raised."""
    error = find_raised(error)
    current_metrics().hook_failures.labels(plugin, hook).inc()
    log.error(
        "a plugin failed", plugin=plugin, hook=hook, error=type(error).__name__, exception=render_exception(error)
    )
