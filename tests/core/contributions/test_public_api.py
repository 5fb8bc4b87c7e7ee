"""What a plugin can do with the names of `yoq_web` alone: settings of its own, deeds by itself, events as JSON."""

from __future__ import annotations

import json

import pytest
from flask import Flask

import yoq_web
from tests.conftest import Api, MakeApp
from yoq_web import (
    CommandGroup,
    Contribution,
    Event,
    Operation,
    Setting,
    SettingsError,
    act_as_system,
    current_settings,
    dumps,
    hookimpl,
)


def parse_limit(text: str) -> int:
    """Read a number of reminders."""
    if not text.isdecimal():
        raise SettingsError("YOQ_REMINDERS_LIMIT must be a number")
    return int(text)


LIMIT = Setting("YOQ_REMINDERS_LIMIT", "how many reminders there may be", parse_limit, lambda _settings: 3, "`3`")
remind = Operation("reminders_remind", "Remind", "reminders:write", details=("limit",))
group = CommandGroup("reminders", help="Remind people.")


@group.command("limit", read_only=True)
def show_limit() -> None:
    """Show how many reminders there may be."""
    print(current_settings()[LIMIT])  # noqa: T201 - of click no name is needed


class Reminders:
    """A plugin with a setting, that does something each second and sends the trail elsewhere."""

    name = "reminders"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def act(self) -> None:
        """Remind, as nobody in particular."""
        with act_as_system(), remind.performed("all", limit=current_settings()[LIMIT]):
            pass

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Contribute the operation, the setting and the task."""
        return Contribution(operations=(remind,), commands=(group,), settings=(LIMIT,), periodic=(self.act,))

    @hookimpl
    def yoq_operation_committed(self, event: Event) -> None:
        """Send the event."""
        self.sent.append(dumps(event.to_document()))


def test_a_setting_of_its_own(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read where the core's are, from the environment too; a text of no use stops the start, naming it."""
    for given, expected in ((None, "3"), ("7", "7")):
        if given:
            monkeypatch.setenv("YOQ_REMINDERS_LIMIT", given)
        told = make_app(Reminders()).test_cli_runner().invoke(args=["reminders", "limit"])
        assert (told.exit_code, told.stdout) == (0, f"{expected}\n")
    with pytest.raises(SettingsError, match="YOQ_REMINDERS_LIMIT must be a number"):
        make_app(Reminders(), YOQ_REMINDERS_LIMIT="many")


def test_it_acts_by_itself_and_sends_what_happened(make_app: MakeApp) -> None:
    """Its task has no actor but the system, is recorded as that, and its event goes out as JSON."""
    plugin = Reminders()
    app = make_app(plugin, YOQ_REMINDERS_LIMIT="5")
    run_tasks(app)
    (entry,) = Api(app).entries()
    assert (entry["actor"], entry["action"], entry["target"], entry["details"]) == (
        "system",
        "reminders_remind",
        "all",
        {"limit": 5},
    )
    (sent,) = map(json.loads, plugin.sent)
    assert (sent["id"], sent["operation"], sent["outcome"]) == (entry["event_id"], "reminders_remind", "ok")
    assert sent["actor"] == {"kind": "system", "label": "system"}
    assert sent["details"] == {"limit": 5}


def test_every_name_is_there() -> None:
    """What `__all__` promises can be imported, and nothing else is found there that is not a module."""
    assert all(hasattr(yoq_web, name) for name in yoq_web.__all__)
    before = """Actor Choice CommandGroup Contribution Denied Event Failure Keeper Model Name NotFound Operation Problem
        Progress Rejected Resource Status Veto as_json checked create_app current_actor db describe_actor dumps endpoint
        hookimpl metadata named print_json print_table spooled"""
    assert set(before.split()) <= set(yoq_web.__all__)


def run_tasks(app: Flask) -> None:
    """Do what a server does each second, to its end."""
    from yoq_web.hooks import host, periodic  # noqa: PLC0415 - no name of a plugin's

    periodic.run_periodic_tasks(app)
    host.current_host(app).drain(5)
