"""`yoq-web audit verify`: does everything hold that the log promises, and if not, what is wrong and where."""

from __future__ import annotations

import time

import click

from yoq_audit.sealing import keys, overdue, signer
from yoq_audit.storage import tree
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer
from yoq_audit.verification.checker import verify
from yoq_audit.verification.report import Report
from yoq_web import (
    CannotCompare,
    Progress,
    SettingsError,
    as_json,
    command,
    compare_schema,
    current_spool,
    db,
    escape_text,
    open_reader,
    print_json,
)

AGAIN_SECONDS = 3.0
"""How long an entry that is old and waits gets to be sealed before it is called overdue."""

UNKNOWN = (
    f"whether the database and {keys.HEAD_FILE} were put back together: a checkpoint that was kept elsewhere tells",
    "what the spool holds: its records are not in the log before the database takes them",
)
"""What nothing on this machine can tell."""


@command("verify", read_only=True)
@as_json
def verify_command(as_json: bool) -> None:
    """Check the whole log: entries, tree, checkpoints and the head outside the database. Changes nothing."""
    with Progress("verifying", silent=as_json) as bar:
        report = verify_log(bar)
    if as_json:
        print_json(report.document())
    else:
        _print(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def verify_log(bar: Progress | None = None) -> Report:
    """Verify the current application's log."""
    own = keys.read_signer()
    head, complaints = _read_head(own)
    with open_reader() as connection:
        report = verify(connection, own=own.verifier if own else None, head=head, progress=bar.show if bar else None)
    for complaint in complaints:
        report.add("head", complaint)
    _compare_schema(report)
    if report.oldest_pending is not None and report.oldest_pending.age >= overdue.MOST_SECONDS:
        # What comes late, from a spool, is old when it is stored: it is sealed within a second.
        time.sleep(AGAIN_SECONDS)
        if not overdue.is_sealed(db.session(), report.oldest_pending.id):
            report.add(
                "pending", f"{report.oldest_pending.complaint}; it is sealed by a server, and by any other command"
            )
    report.spool = len(current_spool().read_waiting())
    report.unknown += UNKNOWN
    if own is None:
        report.unknown.append(
            "whether the keys in the database are the log's: this machine has none to hold against them"
        )
    return report


def _compare_schema(report: Report) -> None:
    try:
        for difference in compare_schema("audit"):
            report.add("schema", str(difference), field=difference.name, was=difference.made, now=difference.found)
    except CannotCompare as error:
        report.unknown.append(f"whether the tables are as the migrations made them: {error}")


def _read_head(own: Signer | None) -> tuple[Checkpoint | None, list[str]]:
    """Read the head kept outside the database, and what is wrong with it or with the key."""
    session = db.session()
    complaints = [signer.KEY_MISSING] if signer.is_key_lost(session) else []
    known = keys.read_chain(session, own).keys or ((own.verifier,) if own else ())
    head = None
    try:
        head = keys.read_head(known) if known else None
        if own is not None and head is None and tree.find_signed_tree(session) is not None:
            complaints.append(signer.HEAD_MISSING)
    except SettingsError as error:
        complaints.append(str(error))
    # The log goes on growing while it is verified, from what is read now.
    session.rollback()
    return head, complaints


def _print(report: Report) -> None:
    for finding in report.findings:
        click.echo(escape_text(finding.message))
    if report.found > len(report.findings):
        click.echo(f"and {report.found - len(report.findings)} more")
    held = "the log holds" if report.ok else f"the log does not hold: {report.found} findings"
    oldest = f" (the oldest for {report.oldest_pending.age} seconds)" if report.oldest_pending else ""
    click.echo(
        f"{held}; {report.entries} entries, {report.size} sealed, {report.pending} pending{oldest}, "
        f"{report.spool} spooled"
    )
    if report.pruned or report.erased:
        click.echo(f"{report.pruned} pruned and {report.erased} erased, as sealed entries announce")
    click.echo(f"root {report.document()['root']}")
    for said in report.unknown:
        click.echo(f"not known: {said}")
