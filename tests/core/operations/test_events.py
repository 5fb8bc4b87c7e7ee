"""Events: frozen once made, and redacted by construction."""

from __future__ import annotations

import dataclasses
import json

import pytest
from flask import Flask

from tests.conftest import MakeApp
from tests.support.door import Probe, acting, entries, probe_act
from yoq_web import Actor, Event, Operation, Problem
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.operations.details import DETAIL_BYTES, TARGET_BYTES


@pytest.fixture
def probe() -> Probe:
    """The plugin of `app`."""
    return Probe()


@pytest.fixture
def app(make_app: MakeApp, probe: Probe) -> Flask:
    """An application with the plugin."""
    return make_app(probe)


def test_events_are_frozen(app: Flask, probe: Probe) -> None:
    """No plugin can change what is recorded: not the event, not its details, not its actor."""
    with acting(app), probe_act.performed("b", note="why", many=["x"]):
        pass
    (event,) = probe.asked
    for name in [field.name for field in dataclasses.fields(Event)]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, name, None)
    with pytest.raises(TypeError):
        event.details["note"] = "other"  # type: ignore[index]  # what a plugin might try
    with pytest.raises(AttributeError):
        event.details["many"].append("y")  # type: ignore[union-attr]  # what a plugin might try
    with pytest.raises(TypeError):
        event.actor.details["os_user"] = "root"  # type: ignore[index]  # what a plugin might try
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.actor.scopes = ("*",)  # type: ignore[misc]  # what a plugin might try
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.operation.scope = ""  # type: ignore[misc]  # what a plugin might try


def test_a_caller_cannot_change_what_it_handed_over(app: Flask, database_url: str) -> None:
    """Details are copied when the operation begins: what the body does to its own list is not what is recorded."""
    many = ["x"]
    with acting(app), probe_act.performed("b", many=many):
        many.append("hunter2")
    assert json.loads(entries(database_url)[0]["details"]) == {"many": ["x"]}


def test_what_is_not_declared_is_not_recorded(app: Flask, database_url: str, probe: Probe) -> None:
    """A detail that the operation does not declare reaches neither the trail nor any plugin."""
    with acting(app), probe_act.performed("b", note="why", value="hunter2"):
        pass
    assert "hunter2" not in str(entries(database_url)) + str(probe.asked) + str(probe.committed)
    assert json.loads(entries(database_url)[0]["details"]) == {"note": "why"}


def test_the_operation_has_the_last_word_on_its_details(app: Flask, database_url: str) -> None:
    """Facts about the actor are recorded, too, but cannot pass for the operation's own details."""
    with acting(app):
        set_actor(Actor("token", "tester", ("*",), {"note": "forged", "via": "proxy"}))
        with probe_act.performed("b", note="why"):
            pass
        set_actor(make_local_actor())
        with probe_act.performed("b"):
            pass
    first, second = (json.loads(entry["details"]) for entry in entries(database_url))
    assert first == {"via": "proxy", "note": "why"}
    assert second == make_local_actor().details


def test_an_entry_stays_small(app: Flask, database_url: str) -> None:
    """Targets, details and reasons are cut at their limits in bytes, never inside a character, and marked."""
    euros = "€" * 2000
    with acting(app), pytest.raises(Problem), probe_act.performed(euros, note=euros, many=[euros] * 100):
        raise Problem(400, euros)
    (entry,) = entries(database_url)
    details = json.loads(entry["details"])
    assert entry["target"] == "€" * (TARGET_BYTES // 3 - 1) + "…"
    assert entry["reason"] == "€" * (DETAIL_BYTES // 3 - 1) + "…"
    assert details["note"] == "€" * (DETAIL_BYTES // 3 - 1) + "…"
    assert details["many"] == ["€" * (DETAIL_BYTES // 3 - 1) + "…"] * 64 + ["…"]
    assert details["cut"] == [
        "note: 6000 bytes",
        "many: 100 items, 64 of them cut",
        "target: 6000 bytes",
        "reason: 6000 bytes",
    ]


@pytest.mark.parametrize("backend", ["sqlite"])  # decided before the database is asked
def test_only_what_is_cut_is_marked(app: Flask, database_url: str) -> None:
    """What just fits is whole; whoever writes the mark himself is not believed, as no `cut` says so."""
    with acting(app):
        with probe_act.performed("n" * TARGET_BYTES, note="é" * (DETAIL_BYTES // 2), many=["x"] * 64):
            pass
        with probe_act.performed("begins…", note="cut: target: 300 bytes…", many=["…"]):
            pass
        with probe_act.performed("n" * (TARGET_BYTES + 1), note="é" * (DETAIL_BYTES // 2) + "x", many=["x"] * 65):
            pass
    whole, written, cut = entries(database_url)
    assert (whole["target"], len(json.loads(whole["details"])["many"])) == ("n" * TARGET_BYTES, 64)
    assert "cut" not in json.loads(whole["details"]) | json.loads(written["details"])
    assert (cut["target"], len(cut["target"].encode())) == ("n" * (TARGET_BYTES - 3) + "…", TARGET_BYTES)
    assert json.loads(cut["details"]) == {
        "note": "é" * ((DETAIL_BYTES - 3) // 2) + "…",
        "many": ["x"] * 64 + ["…"],
        "cut": ["note: 1025 bytes", "many: 65 items", "target: 257 bytes"],
    }


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_marks_are_nobodys_to_give(app: Flask, database_url: str) -> None:
    """No operation declares them, nor what is found out about a local user; an authenticator's are left out."""
    for name in ("cut", "left_out", "os_user", "os_uid", "login_uid", "claimed_sudo_user"):
        with pytest.raises(ValueError, match="cannot have a detail"):
            Operation("probe_act", "Act", "*", (name,))
    with acting(app):
        set_actor(Actor("token", "tester", ("*",), {"cut": "target: 300 bytes", "left_out": 7, "mail": "a@b"}))
        with probe_act.performed("b"):
            pass
    assert json.loads(entries(database_url)[0]["details"]) == {"mail": "a@b", "left_out": 2}


def test_any_text_can_be_recorded(app: Flask, database_url: str) -> None:
    """NUL and lone surrogates, which a database refuses, are replaced: no input makes an entry impossible to store."""
    with acting(app), probe_act.performed("a\0b\udc80", note="\ud800\0", many=["\0", "\udfff"]):
        pass
    (entry,) = entries(database_url)
    assert entry["target"] == "a\N{REPLACEMENT CHARACTER}b?"
    assert json.loads(entry["details"]) == {
        "note": "?\N{REPLACEMENT CHARACTER}",
        "many": ["\N{REPLACEMENT CHARACTER}", "?"],
    }


def test_every_kind_of_detail_comes_back_as_it_went_in(app: Flask, database_url: str) -> None:
    """Texts, numbers, truth values, lists and nothing at all are recorded as such; anything else as its text."""
    with acting(app):
        for given in ("text", 7, True, None, ["a", "b"]):
            with probe_act.performed("b", note=given):
                pass
        with probe_act.performed("b", note=1.5):  # type: ignore[arg-type]  # what a plugin might pass
            pass
    stored = [json.loads(entry["details"])["note"] for entry in entries(database_url)]
    assert stored == ["text", 7, True, None, ["a", "b"], "1.5"]


@pytest.mark.parametrize("name", ["", "Secret_set", "secret-set", "1st", "a", "x" * 65])
def test_action_labels_have_a_form(name: str) -> None:
    """A label that scripts could not search for is refused where the operation is declared."""
    with pytest.raises(ValueError, match="no action label"):
        Operation(name, "Do", "*")


def test_details_are_names() -> None:
    """A text instead of a tuple, whose characters would count, is refused where the operation is declared."""
    with pytest.raises(TypeError, match="a tuple of names"):
        Operation("probe_act", "Act", "*", "note")  # type: ignore[arg-type]  # what a plugin might pass
