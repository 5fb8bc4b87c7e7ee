"""The commands of agents that are about what they run: `agent show`, `agent drain` and `agent rm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from yoq_web.agents import operations
from yoq_web.agents.commands import expect_agent, group
from yoq_web.agents.documents import make_full_document
from yoq_web.apps import agent_api, departures
from yoq_web.commands.output import as_json, escape_text, named, print_json
from yoq_web.database.pages import walk_pages
from yoq_web.times import format_local

MOMENTS = ("last_heartbeat", "registered_at")
"""Members of an agent's document that are seconds since 1970."""


@group.command("show")
@named("agent")
@as_json
def show_command(agent: str, as_json: bool) -> None:
    """Show AGENT, with what it is to run."""
    with expect_agent(agent):
        found = make_full_document(*operations.get_agent(agent))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        text = format_local(value * 1_000_000) if name in MOMENTS else str(value)
        click.echo(f"{name}: {escape_text(text)}")
    for one in walk_pages(lambda part: agent_api.list_assignments(agent, part)):
        reason = f" ({one['status_reason']})" if "status_reason" in one else ""
        what = f"{one.get('app_name', '-')}/{one.get('workload_name', '')} {one['id']}"
        click.echo(escape_text(f"{what}: {one['status']}{reason}, {one['image']}"))


@group.command("drain")
@named("agent")
@click.option("--force", is_flag=True, help="End what has no place elsewhere.")
def drain_command(agent: str, force: bool) -> None:
    """Have AGENT take no more services and give its own to others; what has no place elsewhere stays until it has."""
    with expect_agent(agent):
        found = departures.drain(agent, force=force)
    click.echo(f"{agent}: {'drained' if found['drained'] else 'draining'}")
    _print_moves(found)


@group.command("rm")
@named("agent")
@click.option("--force", is_flag=True, help="Even if it still runs something, which is then placed anew.")
def rm_command(agent: str, force: bool) -> None:
    """Remove AGENT. Its number is free again; if it is still there, it is told to end."""
    with expect_agent(agent):
        found = departures.remove(agent, force=force)
    click.echo(f"{agent}: removed")
    _print_moves(found)


def _print_moves(found: Mapping[str, Any]) -> None:
    words: Sequence[tuple[str, str]] = (("moved", "moved"), ("ended", "ended"), ("waiting", "waits for a place"))
    for member, said in words:
        for text in found[member]:
            click.echo(f"{said}: {escape_text(text)}")
