"""The commands of the log's signing key and of its head."""

from __future__ import annotations

import click

from yoq_audit.proofs import prover
from yoq_audit.sealing import rotation, signer
from yoq_audit.verification.commands import verify_log
from yoq_web import CommandGroup, Failure, Progress, act_ready, command, db, escape_text


@click.group("key", cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def key_group(ctx: click.Context) -> None:
    """Print the log's public keys, the newest last; or give it a new one."""
    if ctx.invoked_subcommand is not None:
        return
    with act_ready(ctx):
        for vkey in prover.list_keys(db.session()):
            click.echo(vkey)


@key_group.command("rotate")
def rotate_command() -> None:
    """Give the log a new signing key, and print its public half.

    An entry announces it, which the old key signs; what was signed before still verifies.
    """
    with prover.translate_log_errors():
        click.echo(rotation.rotate_key())


@command("accept-head")
def accept_head_command() -> None:
    """Go on where log.head was lost, after the whole log was verified.

    Whether the log was cut off before cannot be told any more: compare it with a checkpoint that somebody kept.
    """
    with Progress("verifying") as bar:
        report = verify_log(bar)
    for finding in report.findings:
        if finding.message != signer.HEAD_MISSING:
            raise Failure(f"the log does not hold: {escape_text(finding.message)}")
    with prover.translate_log_errors():
        head = rotation.accept_head()
    click.echo(f"the log of {head.size} entries is taken as it is")
