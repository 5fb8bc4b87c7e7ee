"""The commands of the keys that secrets are encrypted with."""

from __future__ import annotations

from typing import cast

import click

from yoq_web.commands.command import CommandGroup
from yoq_web.commands.output import Failure, as_json, escape_text, print_json, print_table
from yoq_web.commands.progress import Progress
from yoq_web.secrets.keys import rotation
from yoq_web.secrets.keys.masters import Place
from yoq_web.times import format_local

group = CommandGroup("keys", help="Manage the keys that secrets are encrypted with.")


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the data keys, the one in use last."""
    found = rotation.list_keys()
    if as_json:
        print_json([vars(key) for key in found])
        return
    rows = [(key.id, key.master, format_local(key.created_at * 1_000_000), str(key.secrets)) for key in found]
    print_table((18, 24, 26), ("KEY", "MASTER KEY", "MADE", "SECRETS"), rows)


@group.command("rotate")
def rotate_command() -> None:
    """Encrypt every secret with a new data key, and drop the old one.

    Others may read and write meanwhile. One that was interrupted is finished.
    """
    with Progress("encrypting") as bar:
        done = rotation.rotate_keys(bar.show)
    what = "finished the rotation to" if done.resumed else "rotated to"
    click.echo(f"{what} the key {done.key}: {done.secrets} secrets encrypted, {len(done.dropped)} keys dropped")
    if done.unreadable:
        names = ", ".join(map(escape_text, done.unreadable))
        raise Failure(f"these cannot be decrypted, and are left as they are, with their key: {names}")


@group.command("rewrap")
@click.option(
    "--to",
    "place",
    type=click.Choice(["file", "new-file", "environment", "plugin"]),
    help="Which master key; by default the one that a new data key would be wrapped with.",
)
def rewrap_command(place: str | None) -> None:
    """Wrap the data keys with another master key. The secrets stay as they are.

    With `new-file` a new secrets.key is made and the old one kept beside it, under its id: older backups need it.
    """
    before, after = rotation.rewrap_keys(cast("Place | None", place))
    click.echo(f"the data keys are wrapped by the master key {after}; before: {', '.join(sorted(before)) or 'none'}")
