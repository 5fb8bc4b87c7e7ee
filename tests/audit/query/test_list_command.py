"""`yoq-web audit list`: the filters of the route as options, and paging."""

from __future__ import annotations

import json
import re

from flask import Flask

from tests.conftest import Api
from tests.support.commandline import failure, output, run
from tests.support.trail import SECOND, START, make_entry, make_url, store
from yoq_web.times import format_time


def test_the_options_are_the_routes_parameters(api: Api, app: Flask, database_url: str) -> None:
    """Each option, also repeated, gives what the parameter of that name gives, byte for byte."""
    store(
        database_url,
        [
            make_entry(number, actor=("ci", "local", "api-token")[number % 3], node=f"n{number % 2}", details='{"x":1}')
            for number in range(30)
        ],
    )
    for parameters in (
        {"actor": ["ci", "local"], "limit": 5},
        {"action": ["secret_set"], "node": ["n1"], "order": "asc"},
        {"target": ["target-1*", "target-2"], "outcome": ["ok", "failed"]},
        {"request_id": ["request-3", "request-4"]},
        {"kind": ["admin"], "not": ["action=secret_list", "actor=ci"], "details": ["x=1", "x=2"]},
        {"since": format_time(START + 5 * SECOND), "until": format_time(START + 9 * SECOND)},
    ):
        options = []
        for name, values in parameters.items():
            for value in values if isinstance(values, list) else [values]:
                options += [f"--{name.replace('_', '-')}", str(value)]
        answer = api("GET", make_url(parameters))
        assert answer.json
        assert output(app, "audit", "list", "--json", *options) == answer.text + "\n"


def test_a_list_that_goes_on_says_how(app: Flask, database_url: str) -> None:
    """Where there are more entries, standard error has the option that leads to them, and the last list has none."""
    store(database_url, [make_entry(number) for number in range(8)])
    seen: list[str] = []
    options: list[str] = []
    for _ in range(3):
        done = run(app, "audit", "list", "--limit", "3", *options)
        assert done.exit_code == 0
        seen += re.findall(r"target-\d+", done.stdout)
        options = done.stderr.removeprefix("there are more: ").split()
    assert seen == [f"target-{number}" for number in range(7, -1, -1)]
    assert options == []


def test_a_mistake_is_told(app: Flask) -> None:
    """Bad times, outcomes and cursors end with exit code 1 and the name of what is wrong."""
    assert "invalid since" in failure(app, "audit", "list", "--since", "tomorrow")
    assert "actor cannot be empty" in failure(app, "audit", "list", "--actor", "")
    assert "invalid cursor" in failure(app, "audit", "list", "--cursor", "x")
    assert "--outcome" in run(app, "audit", "list", "--outcome", "bad").stderr
    assert json.loads(output(app, "audit", "list", "--json", "--actor", "nobody")) == []
