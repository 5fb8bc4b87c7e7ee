"""AppLocal: one value for each application, made when it is first asked for."""

from __future__ import annotations

import threading
import time

import pytest
from flask import Flask, g

from tests.conftest import Api
from yoq_web import AppLocal
from yoq_web.app_local import ContextLocal, restore_context, save_context
from yoq_web.secrets.keys.keyring import Keyring


def test_a_value_is_made_once() -> None:
    """However many threads ask at once, each application has one value, which is made at its first use."""
    made: list[Flask] = []

    def make(app: Flask) -> object:
        made.append(app)
        time.sleep(0.05)
        return object()

    local: AppLocal[object] = AppLocal("test", make)
    first, second = Flask("first"), Flask("second")
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(local(first))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (made, len(found), len(set(map(id, found)))) == ([first], 8, 1)
    with second.app_context():
        assert local() is local() is not found[0]
    assert made == [first, second]


def test_a_value_that_is_put_there() -> None:
    """It takes the place of any other; without one, and without a way to make it, the error says what to do."""
    local: AppLocal[int] = AppLocal("test")
    app = Flask("test")
    with pytest.raises(RuntimeError, match="has no yoq_test: build it with create_app"):
        local(app)
    for value in (1, 2):
        local.put(app, value)
        assert local(app) == value
    with pytest.raises(RuntimeError, match="application context"):
        local()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_nothing_is_made_to_be_thrown_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often secrets are used, one keyring is made."""
    made: list[Keyring] = []
    original = Keyring.__init__

    def count(self: Keyring) -> None:
        made.append(self)
        original(self)

    monkeypatch.setattr(Keyring, "__init__", count)
    for number in range(5):
        assert api("POST", "/v1/secrets", json={"name": f"n{number}", "value": "v"}).status_code == 200
    assert len(made) == 1


def test_a_value_of_each_request() -> None:
    """It is the default until it is put there, and neither an inner nor a later context has it."""
    local: ContextLocal[int] = ContextLocal("test", 0)
    app = Flask("test")
    with app.app_context():
        assert local() == 0
        local.put(1)
        with app.app_context():
            assert local() == 0
            local.put(2)
        assert local() == 1
    with app.app_context():
        assert local() == 0
    with pytest.raises(RuntimeError, match="application context"):
        local()


def test_all_of_them_are_restored_at_once() -> None:
    """Whatever became of `g` meanwhile, the values are those that were saved; nothing else on it is touched."""
    first: ContextLocal[str] = ContextLocal("first", "")
    second: ContextLocal[str] = ContextLocal("second", "")

    def change() -> None:
        first.put("changed")
        second.put("new")

    def spoil() -> None:
        for name in list(vars(g)):
            setattr(g, name, 5)
        second.put("new")

    for harm in (change, spoil, lambda: vars(g).clear(), lambda: None):
        with Flask("test").app_context():
            first.put("kept")
            saved = save_context()
            harm()
            g.other = "a plugin's"
            restore_context(saved)
            assert (first(), second(), g.other) == ("kept", "", "a plugin's")
