"""application(): what any WSGI server serves, with the work that goes on beside requests."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.util
import os
import signal
import threading
from contextlib import suppress

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web.app import create_app
from yoq_web.database import engine, locks
from yoq_web.hooks import periodic
from yoq_web.http.login_throttle import current_throttle
from yoq_web.operations import external, replay
from yoq_web.operations.replay import current_replayer
from yoq_web.operations.spool import current_spool
from yoq_web.server import current_shutdown
from yoq_web.settings import current_settings

log = get_logger("yoq_web")

PULSE_SECONDS = 1.0
"""How often a serving process looks after what is due."""

LAST_SECONDS = 5.0
"""How long a worker whose server was killed may take to store what it has only in memory."""


def application() -> Flask:
    """Build the application and start its background work; a WSGI server calls this once in each of its processes."""
    app = create_app()
    # For the life of the process: a restore sees it.
    locks.hold_share(current_settings(app))
    engine.remove_unfinished(current_settings(app))
    current_spool(app).open()
    logging.getLogger("yoq_web").setLevel(logging.INFO)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with_parent, args=(app, parent), name="parent", daemon=True).start()
    threading.Thread(target=_work_beside_requests, args=(app,), name="pulse", daemon=True).start()
    _watch_signals(app)
    multiprocessing.util.Finalize(None, _finish, args=(app,), exitpriority=100)
    return app


def _end_with_parent(app: Flask, parent: multiprocessing.process.BaseProcess) -> None:
    # A killed server must not leave a worker that goes on answering on its port.
    parent.join()
    if current_spool(app).held:
        last = threading.Thread(target=_finish, args=(app,), name="finish", daemon=True)
        last.start()
        last.join(LAST_SECONDS)
    os._exit(1)


def _watch_signals(app: Flask) -> None:
    """Note that the process is about to end. The server's own handlers of the signals stay in place."""
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    with suppress(ValueError):  # not on the main thread: then it is not a server's process that signals end
        signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
        threading.Thread(target=_await_signal, args=(app, received), name="signals", daemon=True).start()


def _await_signal(app: Flask, received: int) -> None:
    while not {signal.SIGTERM, signal.SIGINT} & set(os.read(received, 64)):
        pass
    current_shutdown(app).set()


def _work_beside_requests(app: Flask) -> None:
    wake = threading.Event()
    current_replayer.put(app, wake.set)
    while True:
        try:
            with app.app_context():
                current_throttle(app).flush()
                replay.replay()
                external.sweep()
            periodic.run_periodic_tasks(app)
        except Exception as error:
            # The next time may be better; ending the thread would silence it for good.
            log.exception("background work failed", error=type(error).__name__)
        wake.wait(PULSE_SECONDS)
        wake.clear()


def _finish(app: Flask) -> None:
    """Store what is only in memory, or say that it is lost with this process."""
    with app.app_context(), replay.ignore_signals():
        current_throttle(app).flush(everything=True)
        replay.store_held()
