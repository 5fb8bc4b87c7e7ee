"""The routes of agents that are about what they run: draining and removing. They belong to the others of agents."""

from __future__ import annotations

from typing import Any

from yoq_web.agents.operations import agent_drain, agent_remove
from yoq_web.agents.routes import blueprint
from yoq_web.apps import departures
from yoq_web.apps.schemas import Departed, Drained, ForceQuery
from yoq_web.http.endpoints import endpoint


@blueprint.post("/v1/agents/<agent>/drain")
@endpoint(
    agent_drain,
    query=ForceQuery,
    target=lambda agent, query: departures.name_departure(agent, force=query.forced),
    answer=Drained,
)
def drain(agent: str, query: ForceQuery) -> dict[str, Any]:
    """Drain an agent.

    It takes no more services, and those it has move to others, at once where these have room. The rest stays where it
    is until there is a place, and `waiting` says why; with `force` it is ended.
    """
    return departures.drain(agent, force=query.forced)


@blueprint.delete("/v1/agents/<agent>")
@endpoint(
    agent_remove,
    query=ForceQuery,
    target=lambda agent, query: departures.name_departure(agent, force=query.forced),
    answer=Departed,
    errors={409: "It still runs something"},
)
def remove(agent: str, query: ForceQuery) -> dict[str, Any]:
    """Remove an agent.

    Its number in the overlay network is free again, and if it beats it is told to end. While it still runs something
    that is refused; with `force` its services are placed anew, or wait for a place.
    """
    return departures.remove(agent, force=query.forced)
