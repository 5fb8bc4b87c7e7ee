"""The pulse: what is due beside requests, done once a second while serving and at the end of a command that acted."""

from __future__ import annotations

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web.hooks.notifier import HOOK_ERRORS
from yoq_web.logs import rendered
from yoq_web.state import state_of

log = get_logger("yoq_web")


def beat(app: Flask) -> None:
    """Let each domain of the core do what is due, then tell the plugins. Nothing is raised, and nobody is an actor.

    A domain takes part if its package has a function `pulse()`; each is called in an app context of its own.
    """
    here = state_of(app)
    for name, pulse in here.pulses.items():
        with app.app_context():
            try:
                pulse()
            except HOOK_ERRORS as error:
                here.metrics.hook_failures.labels(name, "pulse").inc()
                if name not in here.faint:
                    here.faint.add(name)
                    log.error(  # noqa: TRY400 - rendered() leaves values out
                        "a pulse failed", domain=name, error=type(error).__name__, exception=rendered(error)
                    )
            else:
                if name in here.faint:
                    here.faint.discard(name)
                    log.warning("a pulse works again", domain=name)
    with app.app_context():
        here.plugins.notify("yoq_pulse", app=app)
