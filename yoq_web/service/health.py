"""Health: whether the server can do its work, and what an operator should look at."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from yoq_web.lineages import standings
from yoq_web.state import state


def health() -> tuple[dict[str, object], int]:
    """The health document and its HTTP status: `ok`, `degraded` (it works, look here) or `unavailable` (503)."""
    try:
        behind = [standing.lineage.name for standing in standings() if not standing.up_to_date]
    except SQLAlchemyError:
        return {"status": "unavailable", "database": "cannot be read"}, 503
    refused = sorted({plugin.name for plugin in state().plugins.all if plugin.state == "refused"})
    concerns = {"lineages_behind": behind, "plugins_refused": refused}
    found = {name: names for name, names in concerns.items() if names}
    return {"status": "degraded", **found} if found else {"status": "ok"}, 200
