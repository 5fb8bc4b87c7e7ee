"""Periodic tasks: what is due beside requests, done once a second while serving."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web.app_local import AppLocal
from yoq_web.hooks.errors import HOOK_ERRORS, find_raised, isolate
from yoq_web.hooks.host import current_host
from yoq_web.logs import render_exception
from yoq_web.metrics import current_metrics

log = get_logger("yoq_web")

Task = Callable[[], object]

current_tasks: AppLocal[list[tuple[str, Task]]] = AppLocal("tasks", lambda _app: [])
"""Every contributed periodic task with its owner, in the order in which they are run."""

current_failing: AppLocal[set[str]] = AppLocal("failing", lambda _app: set())
"""The owners of tasks that failed the last time."""


def run_periodic_tasks(app: Flask) -> None:
    """Run each task of the core, and have the plugins run theirs. Nothing is raised, and nobody is an actor.

    A plugin's tasks and its `yoq_pulse` are run on its own thread, so that none holds up the others.
    """
    host = current_host(app)
    for owner, task in current_tasks(app):
        with app.app_context():
            if owner in host.plugins:
                host.deliver(owner, "periodic", task)
            else:
                _run(owner, task)
    notify_pulse(app)


def notify_pulse(app: Flask) -> None:
    """Tell the plugins that they may do what is due."""
    with app.app_context():
        current_host(app).notify("yoq_pulse", app=app)


def _run(owner: str, task: Task) -> None:
    failing = current_failing()
    try:
        with isolate():
            task()
    except HOOK_ERRORS as raised:
        error = find_raised(raised)
        current_metrics().hook_failures.labels(owner, "pulse").inc()
        if owner not in failing:
            failing.add(owner)
            log.error(  # noqa: TRY400 - render_exception() leaves values out
                "a pulse failed", domain=owner, error=type(error).__name__, exception=render_exception(error)
            )
    else:
        if owner in failing:
            failing.discard(owner)
            log.warning("a pulse works again", domain=owner)
