"""What is behind a token is kept by nobody on the way: every route says so, and every refusal."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ADMIN, Api, MakeApp
from tests.support.agents import JOIN
from yoq_web.http.endpoints import find_declaration

MAY_BE_KEPT = {
    "/v1/audit/log/checkpoint",
    "/v1/audit/log/key",
    "/v1/audit/log/tile/<level>/<path:place>",
    "/v1/audit/entries/<event_id>/proof",
}
"""Hashes and signatures, which name nobody and nothing."""


@pytest.mark.parametrize("token", [ADMIN, JOIN, None], ids=["admin", "join", "nobody"])
def test_nothing_behind_a_token_is_kept(make_app: MakeApp, token: str | None) -> None:
    """Every answer of every route but the public ones is `no-store`, whoever asks and whatever it says."""
    api = Api(make_app(YOQ_JOIN_TOKEN=JOIN), token)
    Api(api.app)("POST", "/v1/secrets", json={"name": "x", "value": "hunter2"})
    checked = 0
    for rule in api.app.url_map.iter_rules():
        declaration = find_declaration(api.app.view_functions[rule.endpoint])
        assert declaration
        if declaration.public:
            continue
        for method in (rule.methods or set()) - {"OPTIONS"}:
            answer = api(method, re.sub(r"<[^>]*>", "x", rule.rule), json={})
            answer.close()  # one of them never ends by itself
            caching = answer.headers["Cache-Control"]
            assert caching == "no-store" or (rule.rule in MAY_BE_KEPT and caching.startswith("private, ")), rule
            checked += 1
    assert checked > 50
    assert api("GET", "/v1/nowhere").headers["Cache-Control"] == "no-store"
