"""URL rules that are quick to make match and build as Werkzeug's own."""

from __future__ import annotations

from werkzeug.routing import Map, Rule

from yoq_web.http.rules import QuickRule


def test_a_quick_rule_does_what_werkzeugs_does() -> None:
    """It matches the same paths and builds the same URLs, with and without arguments it does not know."""
    ours, theirs = (
        Map([kind("/v1/notes/<name>", endpoint="note"), kind("/v1/notes/<int:number>/<path:rest>", endpoint="rest")])
        for kind in (QuickRule, Rule)
    )
    for path in ("/v1/notes/a%20b", "/v1/notes/7/x/y"):
        assert ours.bind("localhost").match(path) == theirs.bind("localhost").match(path)
    for endpoint, values in (
        ("note", {"name": "ä b/c"}),
        ("note", {"name": "n", "page": "2"}),
        ("rest", {"number": 7, "rest": "x/y"}),
    ):
        built = [routes.bind("localhost").build(endpoint, values) for routes in (ours, theirs)]
        assert built[0] == built[1]
