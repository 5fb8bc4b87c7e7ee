"""Health: whether the server can do its work, and what an operator should look at."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from yoq_web.database.migrations import list_standings
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.operations.spool import current_spool


def check_health() -> tuple[dict[str, object], int]:
    """Return the health document and its HTTP status: `ok`, `degraded` (it works, look here), `unavailable` (503)."""
    spool = _describe_spool()
    try:
        behind = [standing.lineage.name for standing in list_standings() if not standing.up_to_date]
    except SQLAlchemyError:
        return {"status": "unavailable", "database": "cannot be read", **spool}, 503
    refused = sorted({plugin.name for plugin in current_host().all if plugin.state == "refused"})
    concerns: dict[str, object] = {"lineages_behind": behind, "plugins_refused": refused, "plugins": _ask_plugins()}
    found = {name: concern for name, concern in concerns.items() if concern} | spool
    return {"status": "degraded", **found} if found else {"status": "ok"}, 200


def _ask_plugins() -> dict[str, str]:
    """Ask the plugins what an operator should look at. Returns what they say, by plugin."""
    found: dict[str, str] = {}
    for ask in current_host().find_implementations("yoq_health"):
        try:
            concern = ask()
        except HOOK_ERRORS as error:
            report_hook_failure(ask.plugin, "yoq_health", error)
            concern = "it cannot say how it is"
        if isinstance(concern, str):
            found[ask.plugin] = concern
    return found


def _describe_spool() -> dict[str, object]:
    """Say how many records wait in the spool, and what is wrong with it, as far as there is something to say."""
    spool = current_spool()
    waiting, suspect = len(spool.read_waiting()), spool.suspect
    found: dict[str, object] = {"spool": waiting} if waiting else {}
    found |= {"spool_suspect": suspect} if suspect else {}
    return found if spool.writable else found | {"spool_writable": False}
