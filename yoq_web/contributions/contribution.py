"""Contribution: everything that a plugin, or a domain of the core, adds to the application, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
from flask import Blueprint

from yoq_web.contributions.gauge import Gauge
from yoq_web.contributions.keeper import Keeper
from yoq_web.http.answer_limits import AnswerLimit
from yoq_web.http.authentication import Authenticator
from yoq_web.operations.operation import Operation
from yoq_web.settings import Setting


@dataclass(frozen=True)
class Contribution:
    """What a plugin adds. `migrations` is the folder of its Alembic revisions; its tables begin with its name.

    `commands` are groups and single commands, offline ones among them. Each of the `periodic` tasks is called once a
    second while serving. The `authenticators` are asked whose request it is, the `answer_limits` how many bytes of a
    body its client takes. A `keeper` has a say when the tables are backed up or restored. `settings` are the plugin's
    own, `gauges` what `/metrics` shows of it.
    """

    operations: Sequence[Operation] = ()
    blueprints: Sequence[Blueprint] = ()
    commands: Sequence[click.Command] = ()
    migrations: Path | None = None
    keeper: Keeper | None = None
    periodic: Sequence[Callable[[], object]] = ()
    authenticators: Sequence[Authenticator] = ()
    answer_limits: Sequence[AnswerLimit] = ()
    settings: Sequence[Setting[Any]] = ()
    gauges: Sequence[Gauge] = ()

    def __post_init__(self) -> None:
        # They are gone through more than once, which an iterator would survive empty.
        for field in fields(self):
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
