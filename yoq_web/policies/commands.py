"""The commands of policies (yoq's options, output and exit codes)."""

from __future__ import annotations

import click

from yoq_web.commands.command import CommandGroup
from yoq_web.commands.output import as_json, checked, named, print_json, print_table
from yoq_web.database.pages import walk_pages
from yoq_web.policies import operations
from yoq_web.policies.schemas import PolicyIn
from yoq_web.times import format_local

group = CommandGroup("policy", help="Manage network policies.")


@group.command("allow")
@named("source")
@named("target")
def allow_command(source: str, target: str) -> None:
    """Allow traffic from SOURCE to TARGET."""
    _add(source, target, "allow")


@group.command("deny")
@named("source")
@named("target")
def deny_command(source: str, target: str) -> None:
    """Block traffic from SOURCE to TARGET."""
    _add(source, target, "deny")


@group.command("rm")
@named("source")
@named("target")
def rm_command(source: str, target: str) -> None:
    """Remove the rule for SOURCE and TARGET, if there is one."""
    operations.delete_policy(source, target)
    click.echo(f"{source} -> {target}: removed")


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the rules, the oldest first."""
    rows = list(walk_pages(operations.list_policies))
    if as_json:
        keys = ("source", "target", "action", "created_at")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    elif not rows:
        click.echo("no network policies")
    else:
        shown = [(*row[:3], format_local(row[3] * 1_000_000)) for row in rows]
        print_table((16, 16, 8), ("SOURCE", "TARGET", "ACTION", "CREATED"), shown)


def _add(source: str, target: str, action: str) -> None:
    policy = checked(PolicyIn, source=source, target=target, action=action)
    operations.add_policy(policy.source, policy.target, policy.action)
    click.echo(f"{source} -> {target}: {action}")
