"""The commands of tokens (yoq's options, output and exit codes)."""

from __future__ import annotations

import click

from yoq_web.commands.command import CommandGroup
from yoq_web.commands.output import Failure, as_json, checked, named, print_json, print_table
from yoq_web.database.pages import walk_pages
from yoq_web.problems import NotFound
from yoq_web.scopes import current_vocabulary
from yoq_web.times import format_local
from yoq_web.tokens import operations
from yoq_web.tokens.schemas import MAX_SCOPES, TokenIn, parse_ttl

group = CommandGroup("token", help="Manage named, scoped API tokens.")


@group.command("create")
@named("name")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="What the token may do; repeatable, 16 at most.")
@click.option("--ttl", metavar="T", help="How long it lives: 45s, 30m, 12h, 7d; for ever if not given.")
@as_json
def create_command(name: str, scopes: tuple[str, ...], ttl: str | None, as_json: bool) -> None:
    """Create a token and print it, this once."""
    if not scopes:
        raise Failure("at least one --scope is required")
    if len(scopes) > MAX_SCOPES:
        raise Failure(f"too many scopes (max {MAX_SCOPES})")
    if ttl is not None:
        try:
            parse_ttl(ttl)
        except ValueError:
            raise Failure(f"invalid --ttl: {ttl}") from None
    made = operations.create_token(checked(TokenIn, name=name, scopes=list(scopes), ttl=ttl))
    listed = ",".join(made.scopes)
    if as_json:
        print_json({"name": made.name, "scopes": listed, "token": made.token})
        return
    click.echo(f"token created: {made.name}")
    click.echo(f"  scopes: {listed}")
    click.echo(f"  token:  {made.token}")
    click.echo("  save this now — it will not be shown again")


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the tokens, the newest first."""
    tokens = list(walk_pages(operations.list_tokens))
    if as_json:
        print_json([token.model_dump() | {"scopes": ",".join(token.scopes)} for token in tokens])
        return
    rows = [(token.name, token.status, ",".join(token.scopes), _format_end(token.expires_at)) for token in tokens]
    print_table((20, 10, 40), ("NAME", "STATUS", "SCOPES", "EXPIRES"), rows)


def _format_end(expires_at: int | None) -> str:
    return "never" if expires_at is None else format_local(expires_at * 1_000_000)


@group.command("revoke")
@named("name")
def revoke_command(name: str) -> None:
    """Revoke a token, at once and in every process."""
    try:
        operations.revoke_token(name)
    except NotFound:
        raise Failure(f"token not found: {name}") from None
    click.echo(f"revoked {name}")


@group.command("scopes")
def scopes_command() -> None:
    """List every scope that a token may be given, plugins' included."""
    click.echo("\n".join(current_vocabulary().words))
