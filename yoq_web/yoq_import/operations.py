"""Importing what yoq's database has: each thing by its own operation, and the whole as one more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from yoq_web.commands.progress import ProgressCallback
from yoq_web.database.session import unit_of_work
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import mark_failed
from yoq_web.problems import Problem
from yoq_web.yoq_import.encryption import read_key
from yoq_web.yoq_import.plan import Item, make_plan
from yoq_web.yoq_import.source import read_source

yoq_import = Operation(
    "yoq_import",
    "Import from yoq's own database",
    "*",
    ("brought", "overwritten", "equal", "differing", "refused", "dry_run"),
    activity="create",
)

OPERATIONS = (yoq_import,)


@dataclass
class ImportReport:
    """What became of each thing: what was `brought`, in the place of another one or not, and what was not.

    After a dry run `brought` is what would have been. `left` is how much there is that no import brings.
    """

    source: Path
    brought: list[Item]
    overwritten: list[Item]
    others: list[Item]
    left: dict[str, int]

    def select(self, state: str) -> list[Item]:
        """Return those that were not brought because they stand so."""
        return [item for item in self.others if item.state == state]


def import_database(
    path: Path, key_file: Path | None, *, overwrite: bool, dry_run: bool, progress: ProgressCallback
) -> ImportReport:
    """Bring the secrets, policies and tokens of yoq's database that are not here; what differs only with `overwrite`.

    Without a key file the secrets are left. Each thing that is brought leaves its own entry, and the import one more,
    a dry run too: it compares values. Raises a Problem if the file or the key cannot be used: then nothing is changed,
    and that it was tried is recorded.
    """
    try:
        source = read_source(path)
        key = read_key(key_file) if key_file is not None and source.secrets else None
        with unit_of_work() as session:
            plan = make_plan(session, source, key)
    except Problem:
        with yoq_import.performed(str(path), dry_run=dry_run):
            raise
    secrets = {"secrets": len(source.secrets)} if source.secrets and key_file is None else {}
    report = ImportReport(path, [], [], [], secrets | source.left)
    ended = False
    try:
        for number, item in enumerate(plan):
            _bring(item, report, overwrite=overwrite, dry_run=dry_run)
            progress(number + 1, len(plan))
        ended = True
    finally:
        counts = {
            "brought": _count(report.brought),
            "overwritten": _count(report.overwritten),
            "equal": _count(report.select("equal")),
            "differing": _count(report.select("differs")),
            "refused": _count(report.select("refused")),
        }
        with yoq_import.performed(str(path), dry_run=dry_run, **counts):
            if not ended:
                mark_failed("it stopped before its end")
            elif report.select("refused"):
                mark_failed("some could not be brought")
    return report


def _bring(item: Item, report: ImportReport, *, overwrite: bool, dry_run: bool) -> None:
    wanted = item.state == "new" or (item.state == "differs" and overwrite)
    if item.bring is None or not wanted:
        report.others.append(item)
        return
    if not dry_run:
        try:
            item.bring()
        except Problem as problem:
            if problem.status >= 500:  # it is not this one alone
                raise
            report.others.append(replace(item, state="refused", note=problem.reason))
            return
    (report.brought if item.state == "new" else report.overwritten).append(item)


def _count(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(f"{kind} {count}" for kind, count in Counter(item.kind for item in items).items())
