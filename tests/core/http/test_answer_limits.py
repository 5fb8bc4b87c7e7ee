"""Answers of limited size: the plugins that know clients say how much these take."""

from __future__ import annotations

import pytest
from flask import Request

from tests.conftest import MakeApp
from tests.support.plugins import contributing
from yoq_web import find_answer_limit

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


def small(request: Request) -> int | None:
    """Know a client that takes little."""
    return 1000 if request.headers.get("User-Agent") == "small" else None


def broken(request: Request) -> int | None:
    """Fail for every client."""
    raise ValueError("hunter2")


def test_the_smallest_limit_counts(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """Of several limits the smallest counts; one that fails is reported and harms nobody."""
    app = make_app(
        contributing("one", answer_limits=(lambda _request: 2000, broken)),
        contributing("two", answer_limits=[small]),
    )
    for agent, limit in (("small", 1000), ("other", 2000)):
        caplog.clear()
        with app.test_request_context(headers={"User-Agent": agent}):
            assert find_answer_limit() == limit
        assert "a plugin failed" in caplog.text
        assert "'plugin': 'one'" in caplog.text
        assert "hunter2" not in caplog.text
