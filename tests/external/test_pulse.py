"""The pulse of the core's domains: each is called, none breaks the others or the plugins'."""

from __future__ import annotations

import sys
import types

import pytest

from tests.commandline import output
from tests.conftest import MakeApp
from tests.plugin_kit import Made
from yoq_web import app as building
from yoq_web.contributions.registry import Contribution
from yoq_web.hooks import periodic
from yoq_web.state import state_of


def domain(pulse: object) -> types.ModuleType:
    """A package of the core with a pulse."""
    made = types.ModuleType("made")
    vars(made).update(contribution=Contribution, pulse=pulse)
    return made


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_each_domain_is_called_whatever_the_others_raise(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pulse that raises is logged once until it works again, and neither the next domain nor a plugin misses its."""
    beats: list[str] = []
    works = False

    def first() -> None:
        if not works:
            sys.exit("hunter2")

    monkeypatch.setitem(building.DOMAINS, "first", domain(first))
    monkeypatch.setitem(building.DOMAINS, "second", domain(lambda: beats.append("second")))
    app = make_app(Made("heart", yoq_pulse=lambda: beats.append("plugin")))
    for _ in range(2):
        periodic.beat(app)
    state_of(app).plugins.drain(5)
    assert sorted(beats) == ["plugin", "plugin", "second", "second"]
    assert caplog.text.count("a pulse failed") == 1
    works = True
    periodic.beat(app)
    assert caplog.text.count("a pulse works again") == 1
    state_of(app).plugins.drain(5)
    beats.clear()
    output(app, "policy", "list")
    assert beats == []  # nothing was performed
    assert output(app, "policy", "deny", "a", "b")
    assert sorted(beats) == ["plugin", "second"]
