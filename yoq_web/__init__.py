"""yoq-web: an admin control plane whose reason to exist is its audit trail. These names are what a plugin needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoq_web import files
    from yoq_web.actors import Actor, ActorKind, act_as_system, current_actor
    from yoq_web.app import create_app
    from yoq_web.app_local import AppLocal
    from yoq_web.commands.command import Command, CommandGroup, act_ready, command
    from yoq_web.commands.output import (
        Failure,
        allow_writing,
        as_json,
        checked,
        escape_text,
        named,
        open_output,
        overwrite_option,
        print_json,
        print_table,
    )
    from yoq_web.commands.progress import Progress, ProgressCallback
    from yoq_web.contributions.contribution import Contribution
    from yoq_web.contributions.gauge import Gauge
    from yoq_web.contributions.keeper import Choice, Keeper, Mark
    from yoq_web.contributions.resource import Resource
    from yoq_web.database.engine import set_deadline
    from yoq_web.database.file_watch import confirm_commit
    from yoq_web.database.locks import advisory_lock
    from yoq_web.database.pages import Page, Slice, read_page
    from yoq_web.database.schema import CannotCompare, compare_schema
    from yoq_web.database.session import Model, db, metadata, open_reader, unit_of_work, upsert
    from yoq_web.hooks.descriptions import describe_actor
    from yoq_web.hooks.errors import HOOK_ERRORS, Rejected, Veto
    from yoq_web.hooks.host import hookimpl
    from yoq_web.http.answer_limits import find_answer_limit
    from yoq_web.http.authentication import Authenticator, authenticate
    from yoq_web.http.cursors import make_next_link, read_cursor, write_cursor
    from yoq_web.http.endpoints import Status, endpoint
    from yoq_web.http.pages import PageQuery
    from yoq_web.jsontext import dumps
    from yoq_web.logs import render_exception
    from yoq_web.names import Name, check_storable, is_plain_text
    from yoq_web.operations.event import Event, Outcome
    from yoq_web.operations.intents import current_intents
    from yoq_web.operations.operation import Operation, current_operations
    from yoq_web.operations.performance import add_details
    from yoq_web.operations.replay import find_spooled as spooled
    from yoq_web.operations.spool import current_spool
    from yoq_web.problems import Denied, NotFound, Problem, translate_database_error
    from yoq_web.scopes import JOINING
    from yoq_web.server import current_shutdown
    from yoq_web.settings import VERSION, Setting, Settings, SettingsError, current_settings
    from yoq_web.times import ClockJumps, format_local, format_offset, format_time, parse_duration, parse_time

__all__ = [
    "HOOK_ERRORS",
    "JOINING",
    "VERSION",
    "Actor",
    "ActorKind",
    "AppLocal",
    "Authenticator",
    "CannotCompare",
    "Choice",
    "ClockJumps",
    "Command",
    "CommandGroup",
    "Contribution",
    "Denied",
    "Event",
    "Failure",
    "Gauge",
    "Keeper",
    "Mark",
    "Model",
    "Name",
    "NotFound",
    "Operation",
    "Outcome",
    "Page",
    "PageQuery",
    "Problem",
    "Progress",
    "ProgressCallback",
    "Rejected",
    "Resource",
    "Setting",
    "Settings",
    "SettingsError",
    "Slice",
    "Status",
    "Veto",
    "act_as_system",
    "act_ready",
    "add_details",
    "advisory_lock",
    "allow_writing",
    "as_json",
    "authenticate",
    "check_storable",
    "checked",
    "command",
    "compare_schema",
    "confirm_commit",
    "create_app",
    "current_actor",
    "current_intents",
    "current_operations",
    "current_settings",
    "current_shutdown",
    "current_spool",
    "db",
    "describe_actor",
    "dumps",
    "endpoint",
    "escape_text",
    "files",
    "find_answer_limit",
    "format_local",
    "format_offset",
    "format_time",
    "hookimpl",
    "is_plain_text",
    "make_next_link",
    "metadata",
    "named",
    "open_output",
    "open_reader",
    "overwrite_option",
    "parse_duration",
    "parse_time",
    "print_json",
    "print_table",
    "read_cursor",
    "read_page",
    "render_exception",
    "set_deadline",
    "spooled",
    "translate_database_error",
    "unit_of_work",
    "upsert",
    "write_cursor",
]

_HOMES = {
    "actors": "Actor ActorKind act_as_system current_actor",
    "app": "create_app",
    "app_local": "AppLocal",
    "commands.command": "Command CommandGroup act_ready command",
    "commands.output": (
        "Failure allow_writing as_json checked escape_text named open_output overwrite_option print_json print_table"
    ),
    "commands.progress": "Progress ProgressCallback",
    "contributions.contribution": "Contribution",
    "contributions.gauge": "Gauge",
    "contributions.keeper": "Choice Keeper Mark",
    "contributions.resource": "Resource",
    "database.engine": "set_deadline",
    "database.file_watch": "confirm_commit",
    "database.locks": "advisory_lock",
    "database.pages": "Page Slice read_page",
    "database.schema": "CannotCompare compare_schema",
    "database.session": "Model db metadata open_reader unit_of_work upsert",
    "hooks.descriptions": "describe_actor",
    "hooks.errors": "HOOK_ERRORS Rejected Veto",
    "hooks.host": "hookimpl",
    "http.answer_limits": "find_answer_limit",
    "http.authentication": "Authenticator authenticate",
    "http.cursors": "make_next_link read_cursor write_cursor",
    "http.endpoints": "Status endpoint",
    "http.pages": "PageQuery",
    "jsontext": "dumps",
    "logs": "render_exception",
    "names": "Name check_storable is_plain_text",
    "operations.event": "Event Outcome",
    "operations.intents": "current_intents",
    "operations.operation": "Operation current_operations",
    "operations.performance": "add_details",
    "operations.replay": "find_spooled",
    "operations.spool": "current_spool",
    "problems": "Denied NotFound Problem translate_database_error",
    "scopes": "JOINING",
    "server": "current_shutdown",
    "settings": "VERSION Setting Settings SettingsError current_settings",
    "times": "ClockJumps format_local format_offset format_time parse_duration parse_time",
}
"""Where the names are: module and names. `spooled` is the one that has another name there."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is asked for, at its first use: help and versions are told without most of the program."""
        sought = "find_spooled" if name == "spooled" else name
        for module, names in _HOMES.items():
            if name in __all__ and sought in names.split():
                found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), sought)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
