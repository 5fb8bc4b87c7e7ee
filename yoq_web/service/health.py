"""Health: whether the server can do its work, and what an operator should look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from yoq_web.agents.operations import list_late_drains
from yoq_web.app_local import AppLocal
from yoq_web.backup import schedule
from yoq_web.database.file_watch import current_file_watch
from yoq_web.database.migrations import are_up_to_date, list_standings
from yoq_web.database.session import db
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.hooks.questions import Question, Unanswered
from yoq_web.operations.spool import current_spool
from yoq_web.secrets.keys.keyring import find_key_problem

ANSWER_SECONDS = 1.0
"""How long all that is looked at may take together."""

KNOWN_SECONDS = 10.0
"""How long what was seen last counts where the next look takes longer: a busy server is no broken one."""

HOOK = "yoq_health"

T = TypeVar("T")

current_known: AppLocal[dict[str, tuple[float, object]]] = AppLocal("health", lambda _app: {})
"""What was seen last of each thing that is looked at, and when."""


def check_health() -> tuple[dict[str, object], int]:
    """Return the health document and its HTTP status: `ok`, `degraded` (it works, look here), `unavailable` (503).

    It takes no longer than ANSWER_SECONDS, whatever hangs.
    """
    until = time.monotonic() + ANSWER_SECONDS
    looks = _Look("database", _look_into_database), _Look("spool", _describe_spool)
    asked = [(ask.plugin, _Look(f"{HOOK} {ask.plugin}", ask)) for ask in current_host().find_implementations(HOOK)]
    database, spool = looks
    watch = current_file_watch()
    try:
        found = spool.see(until)
    except Unanswered:
        found = {"spool_writable": False}
    try:
        stored = database.see(until)
    except Unanswered:
        return {"status": "unavailable", "database": "does not answer", **found}, 503
    except SQLAlchemyError:
        said = watch.concern if watch and watch.lost else "cannot be read"
        return {"status": "unavailable", "database": said, **found}, 503
    refused = sorted({plugin.name for plugin in current_host().all if plugin.state == "refused"})
    plugins = {plugin: concern for plugin, look in asked if (concern := _see_plugin(plugin, look, until))}
    concerns = {**stored, "plugins_refused": refused, "plugins": plugins, "database": watch.concern if watch else None}
    found = {name: concern for name, concern in concerns.items() if concern} | found
    return {"status": "degraded", **found} if found else {"status": "ok"}, 200


class _Look(Question[T]):
    """A look at something that may hang."""

    def __init__(self, name: str, look: Callable[[], T]) -> None:
        self._name = name
        super().__init__(name, look)

    def see(self, until: float) -> T:
        """Return what is seen, or was a moment ago. Raises Unanswered, or what the look raises."""
        known = current_known()
        try:
            seen = self.wait(until)
        except Unanswered:
            when, last = known.get(self._name, (float("-inf"), None))
            if time.monotonic() - when > KNOWN_SECONDS:
                raise
            return last  # type: ignore[return-value]  # it was put there under the same name
        known[self._name] = time.monotonic(), seen
        return seen


def _see_plugin(plugin: str, look: _Look[object], until: float) -> str | None:
    """Return what a plugin says an operator should look at, if anything."""
    try:
        concern = look.see(until)
    except Unanswered as error:
        if look.was_put:
            report_hook_failure(plugin, HOOK, error)
        return "it does not answer"
    except HOOK_ERRORS as error:
        report_hook_failure(plugin, HOOK, error)
        return "it cannot say how it is"
    return concern if isinstance(concern, str) else None


def _look_into_database() -> dict[str, object]:
    """Say which lineages are behind, or if none is, what is wrong with the secrets' key, backups and drains."""
    # Reading where each stands takes twenty times as long.
    standings = () if are_up_to_date() else list_standings()
    if behind := [standing.lineage.name for standing in standings if not standing.up_to_date]:
        return {"lineages_behind": behind}
    return {
        "secrets_key": find_key_problem(db.session()),
        "backups": schedule.find_concern(),
        "drains_waiting": list_late_drains(),
    }


def _describe_spool() -> dict[str, object]:
    """Say how many records wait in the spool, and what is wrong with it, as far as there is something to say."""
    spool = current_spool()
    waiting, suspect = len(spool.read_waiting()), spool.suspect
    found: dict[str, object] = {"spool": waiting} if waiting else {}
    found |= {"spool_suspect": suspect} if suspect else {}
    return found if spool.writable else found | {"spool_writable": False}
