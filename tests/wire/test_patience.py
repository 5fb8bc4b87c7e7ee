"""A server that cannot write answers before yoq's programs abort, as they do after five seconds without a byte."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.conftest import MakeApp
from tests.support.agents import registration
from tests.support.apps import Shop
from yoq_wire import answers

LONG = 8
"""Seconds after which the database is free again: whoever waits for that gets what it wanted, and not the refusal."""


@contextmanager
def held(url: str) -> Iterator[None]:
    """Another program in the middle of a long change."""
    done, begun = threading.Event(), threading.Event()

    def hold() -> None:
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(text("LOCK TABLE agents, assignments, apps, releases IN SHARE MODE"))
            begun.set()
            done.wait(LONG)
            connection.connection.rollback()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert begun.wait(30)
        yield
    finally:
        done.set()
        thread.join()


def test_a_long_change_does_not_take_the_agents_with_it(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats, reports, registrations and an operator's changes are answered with an error; what is only read works."""
    monkeypatch.setattr(answers, "PATIENCE", 0.2)
    monkeypatch.setattr(answers, "PATIENCE_WITH_BEATS", 0.1)
    shop = Shop(make_app)
    agent = shop.join()
    body = {"app_name": "shop", "services": [{"name": "web", "image": "web:1"}]}
    shop.operator("POST", "/apps/apply", json=body)
    [found] = shop.assigned(agent)
    refusals = []
    with held(shop.url):
        for api, path, sent in (
            (shop.agents, f"/agents/{agent}/heartbeat", {}),
            (shop.agents, f"/agents/{agent}/assignments/{found['id']}/status", {"status": "running"}),
            (shop.agents, "/agents/register", registration()),
            (shop.operator, "/apps/apply", body),
            (shop.operator, f"/agents/{agent}/drain", {}),
        ):
            answer = api("POST", path, json=sent)
            refusals.append((answer.status_code, answer.text))
        assert shop.agents("GET", f"/agents/{agent}/assignments").status_code == 200
        assert shop.operator("GET", "/apps/shop/status").status_code == 200
    assert refusals == [(503, '{"error":"database unavailable"}')] * 5
    assert shop.agents("POST", f"/agents/{agent}/heartbeat", json={}).get_json()["status"] == "active"
    assert shop.operator("POST", "/apps/apply", json=body).status_code == 200
