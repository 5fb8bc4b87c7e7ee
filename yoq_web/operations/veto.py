"""Vetoes: plugins asked before an operation holds anything, against the clock, or in its transaction if they say so.

A plugin may ask another system, which may not answer. So those that need no transaction are asked on a thread of the
operation's own, before the database's write lock is taken, and one that is late refuses the operation.
"""

from __future__ import annotations

import functools
import time

from sqlalchemy.orm import Session

from yoq_web.database.engine import compute_patience_ms
from yoq_web.database.rights import forbid_writing
from yoq_web.database.session import db, end_reading, forbid_units_of_work
from yoq_web.hooks.errors import HOOK_ERRORS, Veto
from yoq_web.hooks.host import Implementation, current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.hooks.questions import Question, Unanswered
from yoq_web.operations.event import Event

HOOK = "yoq_before_operation"

PATIENCE = 10.0
"""How long an operation waits for all plugins together, in seconds; less if its client waits less."""

MOST_LATE = 4
"""Of so many questions about one operation a plugin may owe the answer; then it is refused without a further one."""


def ask_before(event: Event) -> None:
    """Let the plugins veto that need no transaction. Raises Veto; one that fails or is late refuses as well."""
    asked = [ask for ask in current_host().find_implementations(HOOK) if "session" not in ask.arguments]
    if not asked:
        return
    # What was read for this request ends here: neither a snapshot nor a connection is held while others think.
    end_reading(db.session())
    until = time.monotonic() + min(PATIENCE, compute_patience_ms() / 1000)
    for ask in asked:
        name = f"{HOOK} {ask.plugin} {event.operation.name}"
        question = Question(name, functools.partial(_ask_reading, ask, event), most=MOST_LATE)
        try:
            question.wait(until)
        except Unanswered as error:
            report_hook_failure(ask.plugin, HOOK, error)
            raise Veto(f"refused because the plugin {ask.plugin} does not answer") from error


def ask_inside(event: Event, session: Session) -> None:
    """Let the plugins veto that want the operation's session, in its transaction. Raises Veto as ask_before() does."""
    for ask in current_host().find_implementations(HOOK):
        if "session" in ask.arguments:
            _ask(ask, event=event, session=session)


def _ask_reading(ask: Implementation, event: Event) -> None:
    with forbid_writing(), forbid_units_of_work("a plugin that is asked before may read, not write"):
        _ask(ask, event=event)


def _ask(ask: Implementation, **given: object) -> None:
    try:
        ask(**given)
    except Veto:
        raise
    except HOOK_ERRORS as error:
        report_hook_failure(ask.plugin, HOOK, error)
        raise Veto(f"refused because the plugin {ask.plugin} failed") from error
