"""`yoq-web audit verify`: does everything hold that the log promises, and if not, what is wrong and where."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from yoq_audit import keys, sealing
from yoq_audit.commands import group
from yoq_audit.findings import Report
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer
from yoq_audit.verifying import verify
from yoq_web import as_json, db, print_json
from yoq_web.commands import printable
from yoq_web.settings import SettingsError
from yoq_web.state import state

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

SLOW_SECONDS = 1.0
"""A verification that takes longer shows how far it is."""


@group.command("verify", read_only=True)
@as_json
def verify_command(as_json: bool) -> None:
    """Check the whole log: entries, tree, checkpoints and the head outside the database. Changes nothing."""
    bar = None if as_json or not sys.stderr.isatty() else Bar()
    report = check(bar)
    if bar is not None:
        bar.finish()
    if as_json:
        print_json(report.document())
    else:
        _print(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def check(bar: Bar | None = None) -> Report:
    """Verify the current application's log."""
    own = keys.signer()
    head, complaint = _head(own)
    connection = db.engine.raw_connection()
    try:
        own_key = own.verifier if own else None
        report = verify(connection.driver_connection, own=own_key, head=head, progress=bar.show if bar else None)
    finally:
        connection.close()
    if complaint:
        report.add("head", complaint)
    report.spool = len(state().spool.waiting())
    return report


def _head(own: Signer | None) -> tuple[Checkpoint | None, str | None]:
    """The head kept outside the database, or what is wrong with it."""
    if own is None:
        return None, None
    try:
        head = keys.read_head(keys.stored_chain(db.session(), own).keys or (own.verifier,))
    except SettingsError as error:
        return None, str(error)
    missing = head is None and sealing.latest(db.session()) is not None
    # The log goes on growing while it is verified, from what is read now.
    db.session.rollback()
    return head, sealing.HEAD_MISSING if missing else None


def _print(report: Report) -> None:
    for finding in report.findings:
        click.echo(printable(finding.message))
    if report.found > len(report.findings):
        click.echo(f"and {report.found - len(report.findings)} more")
    held = "the log holds" if report.ok else f"the log does not hold: {report.found} findings"
    click.echo(
        f"{held}; {report.entries} entries, {report.size} sealed, {report.pending} pending, {report.spool} spooled"
    )
    if report.pruned or report.erased:
        click.echo(f"{report.pruned} pruned and {report.erased} erased, as sealed entries announce")
    click.echo(f"root {report.document()['root']}")


class Bar:
    """A progress bar on standard error, once it has taken long enough; none if it is `silent`."""

    def __init__(self, label: str = "verifying", *, silent: bool = False) -> None:
        self._label = label
        self._silent = silent
        self._started = time.monotonic()
        self._bar: ProgressBar[Any] | None = None
        self._done = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish()

    def show(self, done: int, size: int) -> None:
        """Show that so many leaves of `size` are done."""
        if self._bar is None:
            if self._silent or time.monotonic() - self._started < SLOW_SECONDS:
                return
            self._bar = click.progressbar(length=size, label=self._label, file=sys.stderr, update_min_steps=10_000)
            self._bar.render_progress()
        self._bar.update(done - self._done)
        self._done = done

    def finish(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.render_finish()
