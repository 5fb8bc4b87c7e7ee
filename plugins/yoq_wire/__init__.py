"""yoq's own routes, unversioned, so that its command line and its agents work unchanged: a translation, no logic."""

from __future__ import annotations

from yoq_web import Contribution, hookimpl
from yoq_wire import agents, apps, cluster, fallback, limits, status


@hookimpl
def yoq_contribute() -> Contribution:
    """Add the routes, and say how much yoq's programs take of the others' answers."""
    return Contribution(
        blueprints=(agents.routes, apps.routes, cluster.routes, status.routes, fallback.make_routes()),
        answer_limits=(limits.find_limit,),
    )
