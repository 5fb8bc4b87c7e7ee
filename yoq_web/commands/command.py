"""Command and CommandGroup: what acts as the local actor, on a database that was made ready for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.actors import make_local_actor, set_actor
from yoq_web.commands.output import Failure, explain_database_error
from yoq_web.database import data_dir, locks
from yoq_web.database.migrations import prepare_database
from yoq_web.hooks.host import current_host
from yoq_web.hooks.periodic import notify_pulse
from yoq_web.operations import external, replay
from yoq_web.operations.event import current_events
from yoq_web.operations.spool import current_spool
from yoq_web.problems import Problem
from yoq_web.settings import SettingsError, current_settings

DRAIN_SECONDS = 10.0
"""How long a command waits at its end for plugins that are being told of what it did."""


class Command(click.Command):
    """A command that runs in an app context of its own, as the actor `local`; a Problem ends it with exit code 1.

    So does what the database refuses, as over HTTP. Before one that is `read_only` nothing is written, neither
    replayed. One that is `offline` needs neither settings nor data nor a database, and gets none of them.
    """

    def __init__(self, *arguments: Any, read_only: bool = False, offline: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.read_only = read_only
        self.offline = offline

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if self.offline:
            return super().invoke(ctx)
        with act_ready(ctx, read_only=self.read_only):
            return super().invoke(ctx)


class CommandGroup(click.Group):
    """A group whose commands act as the local actor, each in an app context of its own: see Command."""

    command_class = Command
    group_class = type
    """Groups within it are CommandGroups, too."""

    def command(  # type: ignore[override]  # click's has overloads, for uses that ours does not have
        self, *arguments: Any, **options: Any
    ) -> Callable[[Callable[..., Any]], Command]:
        """Declare a command, as in click; it may be `read_only` or `offline`."""
        declare: Callable[[Callable[..., Any]], Command] = super().command(*arguments, **options)
        return declare


def command(
    name: str, *, read_only: bool = False, offline: bool = False, **options: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Declare the function below as a command, to be put into a group; the options are click's."""
    return click.command(name, cls=Command, read_only=read_only, offline=offline, **options)


@contextmanager
def act_ready(ctx: click.Context, *, read_only: bool = False) -> Iterator[None]:
    """Act as the local actor, on a database that is made ready first; for the callback of a group that acts itself."""
    app = ctx.ensure_object(ScriptInfo).load_app()
    with act_locally(app):
        make_ready(app, read_only=read_only)
        yield


@contextmanager
def act_locally(app: Flask, *, alone: bool = False) -> Iterator[None]:
    """Give a command an app context of its own, with the actor `local`. What is refused becomes a Failure.

    While a restore is going on a command waits, unless it says that it is `alone`: then it looks after that itself.
    """
    with app.app_context():
        set_actor(make_local_actor())
        try:
            data_dir.make_files(current_settings())
            with nullcontext() if alone else locks.use_shared(current_settings()):
                try:
                    yield
                finally:
                    replay.store_held()
                    if current_events():
                        notify_pulse(app)
                    current_host().drain(DRAIN_SECONDS)
                    current_spool().close()
        except Problem as problem:
            raise Failure(problem.error if not problem.detail else f"{problem.error}\n{problem.detail}") from None
        except SettingsError as error:
            raise Failure(str(error)) from None
        except SQLAlchemyError as error:
            failure = explain_database_error(error)
            if failure is None:
                raise
            raise failure from None


def make_ready(app: Flask, *, read_only: bool = False) -> None:
    """Make an empty embedded database ready, as a first start does, store what waits and clear up what crashes left.

    With `read_only` only see that the database can be used. Raises a Problem if it is not up to date.
    """
    prepare_database(app, may_write=not read_only)
    if read_only:
        return
    data_dir.remove_unfinished(current_settings())
    current_spool().open()
    if not current_spool().empty:
        replay.replay()
    external.sweep()
