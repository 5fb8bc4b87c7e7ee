"""application(): what any WSGI server serves, with the work that goes on beside requests."""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web import logs
from yoq_web.app import create_app
from yoq_web.database import data_dir, locks
from yoq_web.database.engine import count_files
from yoq_web.hooks import periodic
from yoq_web.http import capacity
from yoq_web.http.bodies import ANSWER, current_bodies
from yoq_web.http.capacity import UNREAD_SECONDS, Shedder
from yoq_web.http.connections import limit_silence
from yoq_web.http.login_throttle import current_throttle
from yoq_web.operations import external, replay
from yoq_web.operations.replay import current_replayer
from yoq_web.operations.spool import current_spool
from yoq_web.server import current_shutdown
from yoq_web.settings import current_settings

log = get_logger("yoq_web")

PULSE_SECONDS = 1.0
"""How often a serving process looks after what is due."""

LOOK_SECONDS = 0.25
"""How often a serving process looks after its clients."""

SHED_LOOKS = 4
"""It counts its connections at one look of so many."""

LAST_SECONDS = 5.0
"""How long a worker whose server was killed may take to store what it has only in memory."""


def application() -> Flask:
    """Build the application and start its background work; a WSGI server calls this once in each of its processes."""
    app = create_app()
    # For the life of the process: a restore sees it.
    locks.hold_share(current_settings(app))
    data_dir.remove_unfinished(current_settings(app))
    current_spool(app).open()
    logs.log_requests(current_settings(app))
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with_parent, args=(app, parent), name="parent", daemon=True).start()
    threading.Thread(target=_work_beside_requests, args=(app,), name="pulse", daemon=True).start()
    threading.Thread(target=_watch_clients, args=(app,), name="clients", daemon=True).start()
    _hand_over_answers()
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


def _hand_over_answers() -> None:
    """Have granian tell each request how it can be answered from another thread.

    Its own way of calling the application keeps that to itself; its worker is about to look it up under this name.
    """
    worker = sys.modules.get("granian.server.mp")
    if worker is None:
        return
    make_caller = worker._wsgi_call_wrap

    def make_telling_caller(application: object, *options: object) -> Callable[[Any, dict[str, Any]], object]:
        call = make_caller(application, *options)

        def call_and_tell(protocol: Any, environ: dict[str, Any]) -> object:
            environ[ANSWER] = protocol.response_bytes
            return call(protocol, environ)

        return call_and_tell

    worker._wsgi_call_wrap = make_telling_caller  # type: ignore[attr-defined]


def _watch_clients(app: Flask) -> None:
    bodies = current_bodies(app)
    files = count_files(current_settings(app))
    shedder = Shedder(capacity.count_connections(capacity.raise_file_limit(), files))
    listening = False
    for look in itertools.count():
        time.sleep(LOOK_SECONDS)
        try:
            bodies.end_late()
            listening = listening or limit_silence(UNREAD_SECONDS)
            if look % SHED_LOOKS == 0:
                shedder.shed()
        except Exception as error:
            log.exception("looking after clients failed", error=type(error).__name__)


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
