"""The pulse of the core's domains: each is called, none breaks the others or the plugins'."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.conftest import MakeApp
from tests.support.commandline import output
from tests.support.plugins import Made
from yoq_web import app as building
from yoq_web.contributions.contribution import Contribution
from yoq_web.hooks import periodic
from yoq_web.hooks.host import current_host


def domain(task: Callable[[], object]) -> Callable[[], Contribution]:
    """A domain of the core with a periodic task."""
    return lambda: Contribution(periodic=(task,))


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
        periodic.run_periodic_tasks(app)
    current_host(app).drain(5)
    assert sorted(beats) == ["plugin", "plugin", "second", "second"]
    assert caplog.text.count("a pulse failed") == 1
    works = True
    periodic.run_periodic_tasks(app)
    assert caplog.text.count("a pulse works again") == 1
    current_host(app).drain(5)
    beats.clear()
    output(app, "policy", "list")
    assert beats == []  # nothing was performed
    assert output(app, "policy", "deny", "a", "b")
    assert beats == ["plugin"]  # a command tells the plugins; what the core does each second is the servers'
