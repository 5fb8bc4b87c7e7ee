"""What an authenticator says of an actor has bounds: what would make entries and requests heavy is cut or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Api, MakeApp
from tests.support.door import entries
from tests.support.hooks import set_secret
from tests.support.plugins import Made
from yoq_web import Actor
from yoq_web.actors import MOST_SCOPES, SCOPE_LENGTH
from yoq_web.hooks.descriptions import LENGTH
from yoq_web.operations.details import DETAILS_BYTES, MOST_DETAILS

ONE = pytest.mark.parametrize("backend", ["sqlite"])

OWN = {"version": 1, "before": None}
"""What the operation itself says, beside what is said of its actor."""


GREEDY: dict[str, Callable[[], Actor]] = {
    "scopes": lambda: Actor("token", "ann", ("*",) * (MOST_SCOPES + 1)),
    "a scope without end": lambda: Actor("token", "ann", ("x" * (SCOPE_LENGTH + 1),)),
    "a label without end": lambda: Actor("token", "x" * 1_000_000),
    "a name that is none": lambda: Actor("token", "ann", ("*",), {5: "x"}),  # type: ignore[dict-item]
    "an object": lambda: Actor("token", "ann", ("*",), {"a": object()}),  # type: ignore[dict-item]
    "an object in a list": lambda: Actor("token", "ann", ("*",), {"a": [object()]}),  # type: ignore[dict-item]
}


@ONE
@pytest.mark.parametrize("case", GREEDY)
def test_an_actor_has_bounds(make_app: MakeApp, case: str) -> None:
    """An authenticator that makes one beyond them lets nobody in."""
    assert set_secret(Api(make_app(Made("who", yoq_authenticate=GREEDY[case])))) == 503


LONG: dict[str, dict[str, Any]] = {
    "many": {f"n{number}": "x" for number in range(10_000)},
    "long": {f"n{number}": "x" * 100_000 for number in range(30)},
    "long lists": {f"n{number}": ["x" * 1000] * 100_000 for number in range(30)},
    "long names": {"n" * 100_000 + str(number): "x" for number in range(100)},
    "long numbers": {f"n{number}": 10**100_000 for number in range(30)},
    "numbers in lists": {f"n{number}": [10**100_000] * 50 for number in range(30)},
    "characters to escape": {f"n{number}": "\1" * 100_000 for number in range(30)},
}


@ONE
@pytest.mark.parametrize("case", LONG)
def test_an_actors_details_have_bounds(make_app: MakeApp, database_url: str, case: str) -> None:
    """Of many and of long ones an entry keeps what fits, and says how many it leaves out; none of it is refused."""
    app = make_app(Made("who", yoq_authenticate=lambda: Actor("token", "ann", ("*",), LONG[case])))
    assert set_secret(Api(app)) == 200
    (entry,) = entries(database_url)
    details = {name: value for name, value in json.loads(entry["details"]).items() if name not in OWN}
    left_out = details.pop("left_out", 0)
    cut = details.pop("cut", [])
    assert len(cut) == (0 if case == "many" or "numbers" in case else len(details))
    assert len(entry["details"]) < 8 * DETAILS_BYTES
    assert len(details) <= MOST_DETAILS
    assert left_out == len(LONG[case]) - len(details)
    assert details or case == "long lists"


@ONE
def test_details_that_fit_are_kept_whole(make_app: MakeApp, database_url: str) -> None:
    """As a directory's are."""
    details: dict[str, Any] = {"mail": "ann@example.org", "groups": [f"group-{n}" for n in range(60)], "level": 3}
    app = make_app(Made("who", yoq_authenticate=lambda: Actor("token", "ann", ("*",), details)))
    assert set_secret(Api(app)) == 200
    assert json.loads(entries(database_url)[0]["details"]) == details | OWN


@ONE
def test_a_description_of_an_actor_has_bounds(make_app: MakeApp) -> None:
    """A page shows one for each of its entries."""
    api = Api(make_app(Made("directory", yoq_describe_actor=lambda: "x" * 1_000_000)))
    assert set_secret(api) == 200
    assert api.entries()[0]["actor_description"] == "x" * LENGTH
