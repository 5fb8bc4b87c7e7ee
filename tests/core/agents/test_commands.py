"""The commands of agents: what they print, and how they end."""

from __future__ import annotations

import json

import pytest

from tests.conftest import MakeApp
from tests.support.agents import Cluster
from tests.support.commandline import failure, output
from yoq_web.hooks.periodic import run_periodic_tasks


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_commands(make_app: MakeApp) -> None:
    """Agents are listed for people and programs, drained, labelled and let loose; a person did it."""
    cluster = Cluster(make_app)
    app = cluster.app
    assert output(app, "agent", "list") == "no agents\n"
    agent = cluster.join(wg_public_key="k")
    assert output(app, "agent", "drain", agent) == f"{agent}: drained\n"  # it had nothing to move
    assert output(app, "agent", "labels", agent, "ssd") == f"{agent}: ssd\n"
    run_periodic_tasks(app)
    header, row = output(app, "agent", "list").splitlines()
    assert header.split() == ["ID", "STATUS", "CPU", "MEMORY", "CONTAINERS", "ADDRESS", "LABELS"]
    assert row.split()[:4] == [agent, "drained", "0/4000", "0/8192MB"]
    assert json.loads(output(app, "agent", "list", "--json")) == [cluster.agent(agent)]
    assert output(app, "agent", "undrain", agent) == f"{agent}: active\n"
    for command in (("drain", "x"), ("undrain", "x"), ("labels", "x", "y")):
        assert failure(app, "agent", *command) == "agent not found: x\n"
    assert failure(app, "agent", "labels", agent, "l" * 513).startswith("invalid labels")
    assert [(entry["actor"], entry["action"]) for entry in cluster.operator.entries(4)] == [
        ("local", "agent_undrain"),
        ("local", "agent_label"),
        ("system", "agent_drain_end"),
        ("local", "agent_drain"),
    ]
