"""The commands of agents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from yoq_web.agents import operations
from yoq_web.agents.documents import make_full_document
from yoq_web.agents.models import DRAINING, OFFLINE
from yoq_web.commands.command import CommandGroup
from yoq_web.commands.output import Failure, as_json, escape_text, named, print_json, print_table
from yoq_web.database.pages import walk_pages
from yoq_web.problems import NotFound

group = CommandGroup("agent", help="Manage agents, the machines that run services.")


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the agents, in the order in which they registered."""
    agents = [make_full_document(agent, peer) for agent, peer in walk_pages(operations.list_agents)]
    if as_json:
        print_json(agents)
        return
    if not agents:
        click.echo("no agents")
        return
    rows = [
        (
            agent["id"],
            "drained" if agent["drained"] and agent["status"] == DRAINING else agent["status"],
            f"{agent['cpu_used']}/{agent['cpu_cores'] * 1000}",
            f"{agent['memory_used_mb']}/{agent['memory_mb']}MB",
            agent["containers"],
            agent["address"],
            agent["labels"] or "-",
        )
        for agent in agents
    ]
    header = ("ID", "STATUS", "CPU", "MEMORY", "CONTAINERS", "ADDRESS", "LABELS")
    print_table((14, 10, 12, 16, 10, 21), header, rows)
    for agent in agents:
        if agent["drained"] and agent["status"] == OFFLINE:
            click.echo(f"{agent['id']} was drained: nothing is left on it")
        if "waits_for" in agent:
            click.echo(f"{agent['id']} waits for a place: {escape_text(agent['waits_for'])}")


@group.command("undrain")
@named("agent")
def undrain_command(agent: str) -> None:
    """Let AGENT take services again."""
    with expect_agent(agent):
        operations.undrain(agent)
    click.echo(f"{agent}: active")


@group.command("labels")
@named("agent")
@click.argument("labels")
def labels_command(agent: str, labels: str) -> None:
    """Replace AGENT's labels by LABELS, words separated by commas."""
    with expect_agent(agent):
        operations.label(agent, labels)
    click.echo(f"{agent}: {labels}")


@contextmanager
def expect_agent(agent: str) -> Iterator[None]:
    """Say which agent it was that there is not."""
    try:
        yield
    except NotFound:
        raise Failure(f"agent not found: {agent}") from None
