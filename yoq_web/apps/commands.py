"""The commands of apps: what yoq's CLI prints, on the machine of the control plane."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from yoq_web.apps import operations, queries
from yoq_web.apps.documents import Document
from yoq_web.apps.manifest.fields import ManifestError
from yoq_web.apps.manifest.toml import list_mistakes, make_request_body
from yoq_web.commands.command import CommandGroup
from yoq_web.commands.output import Failure, as_json, escape_text, named, print_json, print_table
from yoq_web.database.pages import MOST, Slice, walk_pages
from yoq_web.problems import NotFound

MAX_MANIFEST = 1024 * 1024
"""Bytes of a manifest (yoq's limit)."""

TABLE = (14, 14, 14, 11, 8, 10, 11, 22, 18, 14)
HEADER = ("APP", "RELEASE", "STATUS", "ROLLOUT", "CTRL", "TRIGGER", "WORKLOADS", "TARGETS", "TRAINING", "PREV OK")
HISTORY_TABLE = (8, 14, 14, 11, 8, 10, 14, 16)
HISTORY_HEADER = ("MARK", "ID", "STATUS", "ROLLOUT", "CTRL", "TRIGGER", "HASH", "TARGETS", "MESSAGE")

group = CommandGroup("app", help="Apply, watch and roll back apps.")

file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
strict_option = click.option("--strict", is_flag=True, help="Refuse what else is passed over with a warning.")
services_argument = click.argument("services", metavar="[SERVICE]...", nargs=-1)
app_option = click.option("--app", "app", metavar="NAME", help="The app's name, for a manifest in TOML that has none.")


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the apps, that with the newest release first."""
    apps = list(walk_pages(queries.list_apps))
    if as_json:
        print_json(apps)
    elif apps:
        print_table(TABLE, (*HEADER, "MESSAGE"), [_make_row(app) for app in apps])
    else:
        click.echo("no app releases found")


@group.command("status")
@named("app")
@as_json
def status_command(app: str, as_json: bool) -> None:
    """Show an app with its newest release."""
    try:
        found = queries.get_status(app)
    except NotFound:
        raise Failure(f"no releases found for app {app}") from None
    if as_json:
        print_json(found)
        return
    print_table(TABLE, (*HEADER, "MESSAGE"), [_make_row(found)])
    places = queries.list_places(app)
    for target in found["rollout_targets"] or ():
        reason = f": {target['reason']}" if target["reason"] else ""
        where = (_format_place(place) for place in places.get(target["workload_name"], ()))
        click.echo(escape_text(", ".join((f"  {target['workload_name']} {target['state']}{reason}", *where))))


@group.command("history")
@named("app")
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many releases.")
@as_json
def history_command(app: str, limit: int, as_json: bool) -> None:
    """List an app's releases, the newest first."""
    entries = queries.list_history(app, Slice(limit=limit))
    if as_json:
        print_json(entries)
    elif entries:
        print_table(HISTORY_TABLE, HISTORY_HEADER, [_make_history_row(entry) for entry in entries])
        if entries.following:
            click.echo("there are more: --limit", err=True)
    else:
        click.echo(f"no releases found for app {app}")


@group.command("apply")
@file_argument
@services_argument
@app_option
@strict_option
@as_json
def apply_command(file: Path, services: tuple[str, ...], app: str | None, strict: bool, as_json: bool) -> None:
    """Apply a manifest: yoq's manifest.toml, or a request document in JSON.

    The app is called as its document says, else as --app says, else as the folder in which the manifest is. Its
    services that the manifest does not name are stopped. With SERVICE only that, or those, and what they depend on are
    applied, and all others stay as they are.
    """
    body = read_manifest_file(file, app, strict=strict)
    _print_release(operations.apply(body, services=services), as_json=as_json)


@group.command("diff")
@file_argument
@services_argument
@app_option
@strict_option
@as_json
def diff_command(file: Path, services: tuple[str, ...], app: str | None, strict: bool, as_json: bool) -> None:
    """Show what an apply would change, without doing it."""
    found = queries.diff_manifest(read_manifest_file(file, app, strict=strict), services=services)
    if as_json:
        print_json(found)
        return
    print_table((10, 14), ("CHANGE", "KIND", "NAME"), [(x["change"], x["kind"], x["name"]) for x in found["changes"]])
    click.echo(", ".join(f"{count} {change}" for change, count in found["summary"].items()))


@group.command("rollback")
@named("app")
@click.option("--release", "release", metavar="ID", help="The release to go back to; the last good one if not given.")
@click.option("--print", "only_print", is_flag=True, help="Print that release's manifest and do nothing.")
@as_json
def rollback_command(app: str, release: str | None, only_print: bool, as_json: bool) -> None:
    """Apply an earlier release again."""
    if only_print:
        click.echo(operations.read_stored_body(operations.find_rollback_target(app, release)))
    else:
        _print_release(operations.rollback(app, release), as_json=as_json)


@group.command("pause")
@named("app")
@as_json
def pause_command(app: str, as_json: bool) -> None:
    """Have a rollout wait before its next batch."""
    _run_control(app, operations.pause, as_json=as_json)


@group.command("resume")
@named("app")
@as_json
def resume_command(app: str, as_json: bool) -> None:
    """Let a paused rollout go on."""
    _run_control(app, operations.resume, as_json=as_json)


@group.command("cancel")
@named("app")
@as_json
def cancel_command(app: str, as_json: bool) -> None:
    """End a rollout now, and undo it if that is its failure action."""
    _run_control(app, operations.cancel, as_json=as_json)


@group.command("run")
@named("app")
@named("worker")
@as_json
def run_command(app: str, worker: str, as_json: bool) -> None:
    """Run a worker of the app's newest release once."""
    found = operations.run_worker(app, worker)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found['message']}: {found['placed']} placed, {found['failed']} failed")
    if found["failed"]:
        raise click.exceptions.Exit(1)


def read_manifest_file(file: Path, app: str | None, *, strict: bool = False) -> bytes:
    """Read the request document in a file: a JSON object as it is, else what yoq's CLI would send for the TOML.

    What is passed over in TOML, as a key that does not exist, is warned of; with `strict` it is a Failure.
    """
    raw = file.read_bytes()
    if len(raw) > MAX_MANIFEST:
        raise Failure(f"the manifest is longer than {MAX_MANIFEST} bytes")
    if raw.lstrip().startswith(b"{"):
        return raw
    try:
        body = make_request_body(raw.decode(), app or file.resolve().parent.name, os.environ)
        mistakes = list_mistakes(raw.decode(), os.environ)
    except UnicodeDecodeError:
        raise Failure("the manifest is not UTF-8 text") from None
    except ManifestError as error:
        raise Failure(f"manifest: {error}") from None
    if mistakes and strict:
        raise Failure(f"manifest: {'; '.join(mistakes)}")
    for mistake in mistakes:
        click.echo(f"warning: {escape_text(mistake)}; it is passed over", err=True)
    return body


def _run_control(app: str, act: Callable[[str], Document], *, as_json: bool) -> None:
    try:
        found = act(app)
    except NotFound:
        raise Failure(f"no rollout in progress for app {app}") from None
    if as_json:
        print_json(found)
    else:
        click.echo(f"{app} {found['release_id']} {_format_control(found)}")


def _print_release(found: Document, *, as_json: bool) -> None:
    """Print an apply document; a release that failed ends the command with exit code 1."""
    if as_json:
        print_json(found)
    else:
        for key in ("app_name", "release_id", "trigger", "status", "rollout_state", "rollout_control_state"):
            click.echo(f"{key}: {found[key]}")
        click.echo(f"targets: {_format_targets(found)}")
        click.echo(f"message: {_format_message(found)}")
    if found["status"] in ("failed", "partially_failed"):
        raise click.exceptions.Exit(1)


def _make_row(found: Document) -> tuple[object, ...]:
    counts = (found[f"{kind}_count"] for kind in ("service", "worker", "cron", "training_job"))
    return (
        found["app_name"],
        found["release_id"],
        found["status"],
        found["rollout_state"],
        _format_control(found),
        found["trigger"],
        "/".join(map(str, counts)),
        _format_targets(found),
        "-",
        found["previous_successful_release_id"] or "-",
        _format_message(found)[:48],
    )


def _make_history_row(found: Document) -> tuple[object, ...]:
    mark = "current" if found["is_current"] else "prev-ok" if found["is_previous_successful"] else ""
    return (
        mark,
        found["id"],
        found["status"],
        found["rollout_state"],
        _format_control(found),
        found["trigger"],
        found["manifest_hash"].removeprefix("sha256:")[:12],
        _format_targets(found),
        _format_message(found)[:36],
    )


def _format_place(place: queries.Place) -> str:
    if place.status == "waits":
        return f"waits for a place: {place.reason}"
    where = f" on {place.agent}" if place.agent else ""
    leaves = f", which is {place.agent_status}" if place.agent_status not in (None, "active") else ""
    return f"{place.status}{where}{leaves}" + (f" ({place.reason})" if place.reason else "")


def _format_control(found: Document) -> str:
    word = str(found["rollout_control_state"])
    return {"active": "-", "cancel_requested": "cancel"}.get(word, word)


def _format_targets(found: Document) -> str:
    parts = [f"{found['completed_targets']} ok"]
    if found["failed_targets"] or found["remaining_targets"]:
        parts.append(f"{found['failed_targets']} fail")
    if found["remaining_targets"]:
        parts.append(f"{found['remaining_targets']} left")
    return ", ".join(parts)


def _format_message(found: Document) -> str:
    details: list[dict[str, Any]] = found["failure_details"] or []
    told = "; ".join(f"{item['workload_name']}: {item['reason']}" for item in details[:2])
    more = f"; +{len(details) - 2} more" if len(details) > 2 else ""
    return f"{found['message']} | {told}{more}" if told else str(found["message"])
