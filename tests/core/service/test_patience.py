"""What may never answer: the database, the spool, a plugin. The server says so, and waits for none of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import make_url

from tests.conftest import Api, MakeApp
from tests.support.plugins import Made
from yoq_web.actors import Actor
from yoq_web.service import health


@contextmanager
def held(database_url: str) -> Iterator[None]:
    """The database while another program holds what health is read from."""
    url = make_url(database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as session:
        session.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def stuck() -> Iterator[threading.Event]:
    """An event that a plugin can wait for, set at the end of the block at the latest."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_database_that_does_not_answer(make_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen a moment ago counts for a while; then a database that does not answer is unavailable."""
    stranger = Api(make_app(), token=None)
    assert stranger("GET", "/health").get_json() == {"status": "ok"}
    with held(database_url):
        assert stranger("GET", "/health").get_json() == {"status": "ok"}
        monkeypatch.setattr(health, "KNOWN_SECONDS", 0)
        answer = stranger("GET", "/health")
        assert (answer.status_code, answer.text) == (503, '{"status":"unavailable","database":"does not answer"}')
        assert stranger("GET", "/version").status_code == 200
    deadline = time.monotonic() + 30
    while stranger("GET", "/health").status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stranger("GET", "/health").get_json() == {"status": "ok"}


def test_a_plugin_that_never_says_how_it_is(make_app: MakeApp) -> None:
    """It is told, and not asked again before it has answered; the others are."""
    asked = []
    with stuck() as event:

        def hang() -> str:
            asked.append(1)
            event.wait(60)
            return "it is late"

        other = Made("other", yoq_health=lambda: "the roof leaks")
        stranger = Api(make_app(Made("stuck", yoq_health=hang), other), token=None)
        for _ in range(3):
            answer = stranger("GET", "/health")
            assert answer.status_code == 200
            assert answer.get_json()["plugins"] == {"stuck": "it does not answer", "other": "the roof leaks"}
        assert len(asked) == 1


def test_a_plugin_that_never_describes_anybody(make_app: MakeApp) -> None:
    """The trail is shown without its descriptions, and with the others'; it is not asked again meanwhile."""
    asked = []
    with stuck() as event:

        def hang(actor: Actor) -> str:
            asked.append(actor.label)
            event.wait(60)
            return "nobody"

        other = Made("other", yoq_describe_actor=lambda actor: f"the holder of {actor.label}")
        api = Api(make_app(other, Made("stuck", yoq_describe_actor=hang)))
        api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
        api.token("secrets:read")("GET", "/v1/secrets")
        described = {entry["actor"]: entry["actor_description"] for entry in api.entries()}
        assert described == {"api-token": "the holder of api-token", "ci": "the holder of ci"}
        assert len(asked) == 1
