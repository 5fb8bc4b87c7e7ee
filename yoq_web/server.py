"""`yoq-web serve`: the application on granian, a production WSGI server that finishes its requests on SIGTERM."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import click
from flask import Flask
from flask.cli import ScriptInfo

from yoq_web.app_local import AppLocal
from yoq_web.commands.output import Failure
from yoq_web.database import locks
from yoq_web.database.data_dir import make_files
from yoq_web.database.engine import count_files
from yoq_web.database.migrations import list_standings, prepare_database
from yoq_web.database.session import db
from yoq_web.http import capacity
from yoq_web.problems import Problem
from yoq_web.settings import VERSION, SettingsError, current_settings
from yoq_web.tokens.admin import FILE, is_first_start, load_admin_token

HEAD_SECONDS = 5
"""How long a client may take to send a request's head. Also what an unfinished one can hold up a SIGTERM for."""

GRACE_SECONDS = 20
"""How long requests may take to finish after SIGTERM; then the process ends without them."""

current_shutdown: AppLocal[threading.Event] = AppLocal("shutdown", lambda _app: threading.Event())
"""Set when the serving process was told to end: answers that go on and on should come to theirs."""


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; loopback unless told.")
@click.option("--port", default=7700, show_default=True, type=click.IntRange(1, 65535))
@click.pass_context
def serve_command(ctx: click.Context, host: str, port: int) -> None:
    """Serve the HTTP API. The first start makes the database ready and shows the admin token, this once."""
    app = ctx.ensure_object(ScriptInfo).load_app()
    try:
        make_files(current_settings(app))
        _check_port(host, port)
        connections = _find_room(app)
        locks.hold_share(current_settings(app))
        prepare_database(app)
        _introduce(app, host, port)
    except Problem as problem:
        raise Failure(f"{problem.error}\n{problem.detail}") from None
    except SettingsError as error:
        raise Failure(str(error)) from None
    with app.app_context():
        db.engine.dispose()  # the worker forks from this process and must not share its connections
    _serve(host, port, connections)


def _serve(host: str, port: int, connections: int) -> None:
    from granian import Granian  # noqa: PLC0415 - other commands do without it
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415 - as above
    from granian.http import HTTP1Settings  # noqa: PLC0415 - as above
    from granian.log import LogLevels  # noqa: PLC0415 - as above

    Granian(
        "yoq_web.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        backpressure=connections,
        blocking_threads=connections,
        workers_kill_timeout=GRACE_SECONDS,
        websockets=False,
        log_level=LogLevels.error,
        factory=True,
        respawn_failed_workers=True,
    ).serve()


def _find_room(app: Flask) -> int:
    """Return how many connections each process may take; say so if they are few. Raises a Failure if there is no room.

    Where descriptors run out, what was recorded may be lost.
    """
    files = capacity.raise_file_limit()
    connections = capacity.count_connections(files, count_files(current_settings(app)))
    if connections < capacity.FEWEST:
        needed = files + capacity.FEWEST - connections
        raise Failure(f"{files} open files are too few: let this process have {needed} or more, with ulimit -n")
    if connections < capacity.MOST:
        click.echo(f"at most {connections} connections at once: the limit of open files is {files}")
    return connections


def _check_port(host: str, port: int) -> None:
    """Raise a Failure if the port is taken. The server itself would share it with another one, silently."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Failure(f"cannot listen on {host} port {port}: {error.strerror}") from None


def _introduce(app: Flask, host: str, port: int) -> None:
    settings = current_settings(app)
    first = is_first_start(settings)
    token = load_admin_token(settings)
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    click.echo(f"yoq-web {VERSION} on {address}, data in {settings.data_dir}")
    with app.app_context():
        behind = [standing.lineage.name for standing in list_standings() if not standing.up_to_date]
    if behind:
        click.echo(f"not up to date: {', '.join(behind)}; run: yoq-web db upgrade")
    if first:
        _show_token(settings.data_dir / FILE, token, address)


def _show_token(file: Path, token: str, address: str) -> None:
    """Say where the new admin token is, and show it to who is at a terminal: all else may be a log that is kept."""
    if sys.stdout.isatty():
        click.echo(f"\nThe admin token, shown this once (it is kept in {file}):\n\n  {token}\n")
    else:
        click.echo(f"\nThe admin token is in {file}\n")
    click.echo("Try it:\n")
    click.echo(f"  curl -H \"Authorization: Bearer $(cat '{file}')\" '{address}/v1/audit'\n")
