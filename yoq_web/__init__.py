"""yoq-web: an admin control plane whose reason to exist is its audit trail. These names are what a plugin needs."""

from __future__ import annotations

from yoq_web.actors import Actor, current_actor
from yoq_web.commands.group import CommandGroup, Failure, as_json, checked, named, print_json, print_table
from yoq_web.commands.progress import Progress
from yoq_web.contributions.keeper import Choice, Keeper
from yoq_web.contributions.registry import Contribution
from yoq_web.contributions.resource import Resource
from yoq_web.database.session import Model, db, metadata
from yoq_web.hooks.host import describe_actor
from yoq_web.hookspecs import Rejected, Veto, hookimpl
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.jsontext import dumps
from yoq_web.names import Name
from yoq_web.operations.door import Event, Operation
from yoq_web.operations.replay import spooled
from yoq_web.problems import Denied, NotFound, Problem

__all__ = [
    "Actor",
    "Choice",
    "CommandGroup",
    "Contribution",
    "Denied",
    "Event",
    "Failure",
    "Keeper",
    "Model",
    "Name",
    "NotFound",
    "Operation",
    "Problem",
    "Progress",
    "Rejected",
    "Resource",
    "Status",
    "Veto",
    "as_json",
    "checked",
    "create_app",
    "current_actor",
    "db",
    "describe_actor",
    "dumps",
    "endpoint",
    "hookimpl",
    "metadata",
    "named",
    "print_json",
    "print_table",
    "spooled",
]


from yoq_web.app import create_app
