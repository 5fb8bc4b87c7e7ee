"""Vetoes: plugins asked before an operation holds anything, against the clock, or in its transaction if they say so.

A plugin may ask another system, which may not answer. So those that need no transaction are asked on a thread of the
operation's own, before the database's write lock is taken, and one that is late refuses the operation.
"""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from flask import current_app, g
from sqlalchemy.orm import Session

from yoq_web.app_local import AppLocal
from yoq_web.database.engine import compute_patience_ms
from yoq_web.database.rights import forbid_writing
from yoq_web.database.session import db, end_reading, forbid_units_of_work
from yoq_web.hooks.errors import HOOK_ERRORS, Veto
from yoq_web.hooks.host import Implementation, current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.operations.event import Event

HOOK = "yoq_before_operation"

PATIENCE = 10.0
"""How long an operation waits for all plugins together, in seconds; less if its client waits less."""

MOST_LATE = 4
"""Of so many questions about one operation a plugin may owe the answer; then it is refused without a further one."""

current_late: AppLocal[Counter[tuple[str, str]]] = AppLocal("late_vetoes", lambda _app: Counter())
"""How many threads are still in a plugin that was too late, by plugin and operation."""

_changing_late = threading.Lock()


def ask_before(event: Event) -> None:
    """Let the plugins veto that need no transaction. Raises Veto; one that fails or is late refuses as well."""
    asked = [ask for ask in current_host().find_implementations(HOOK) if "session" not in ask.arguments]
    if asked:
        # What was read for this request ends here: neither a snapshot nor a connection is held while others think.
        end_reading(db.session())
        _Question(event, asked).put()


def ask_inside(event: Event, session: Session) -> None:
    """Let the plugins veto that want the operation's session, in its transaction. Raises Veto as ask_before() does."""
    for ask in current_host().find_implementations(HOOK):
        if "session" in ask.arguments:
            _ask(ask, event=event, session=session)


def _ask(ask: Implementation, **given: object) -> None:
    try:
        ask(**given)
    except Veto:
        raise
    except HOOK_ERRORS as error:
        report_hook_failure(ask.plugin, HOOK, error)
        raise Veto(f"refused because the plugin {ask.plugin} failed") from error


class _Question:
    """One event about which plugins are asked, one after the other, on a thread that may be left behind."""

    def __init__(self, event: Event, asked: Sequence[Implementation]) -> None:
        self._event = event
        self._asked = asked
        self._at = asked[0].plugin
        self._answered = threading.Event()
        self._refusal: BaseException | None = None
        self._late = current_late()
        self._owed: tuple[str, str] | None = None

    def put(self) -> None:
        """Ask, and wait for the answer as long as there is patience. Raises Veto."""
        for ask in self._asked:
            if self._late[self._name(ask.plugin)] >= MOST_LATE:
                self._refuse(ask.plugin, f"{MOST_LATE} questions about {self._event.operation.name} wait for an answer")
        patience = min(PATIENCE, compute_patience_ms() / 1000)
        # Logs and flask.request are as they were; g is a copy, since this request may go on without the thread.
        asking = contextvars.copy_context()
        thread = threading.Thread(target=asking.run, args=(self._work, dict(vars(g))), name="veto", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread can be started
            self._refuse(self._at, str(error))
        if not self._answered.wait(patience):
            with _changing_late:
                if not self._answered.is_set():
                    self._owed = self._name(self._at)
                    self._late[self._owed] += 1
            if self._owed is not None:
                self._refuse(self._at, f"no answer within {patience:.3g} s")
        if self._refusal is not None:
            raise self._refusal

    def _name(self, plugin: str) -> tuple[str, str]:
        return plugin, self._event.operation.name

    def _refuse(self, plugin: str, why: str) -> NoReturn:
        report_hook_failure(plugin, HOOK, TimeoutError(why))
        raise Veto(f"refused because the plugin {plugin} does not answer")

    def _work(self, kept: Mapping[str, Any]) -> None:
        try:
            forbidden = forbid_units_of_work("a plugin that is asked before may read, not write")
            with forbid_writing(), current_app.app_context(), forbidden:
                vars(g).update(kept)
                for ask in self._asked:
                    self._at = ask.plugin
                    if self._owed is None:
                        _ask(ask, event=self._event)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            self._refusal = error
        with _changing_late:
            self._answered.set()
            if self._owed is not None:
                self._late[self._owed] -= 1
