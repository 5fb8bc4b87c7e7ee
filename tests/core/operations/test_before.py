"""What was there before: whoever changes, replaces or removes something records it; of secrets, the version alone."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.apps import HEALTH, Shop, service
from tests.support.commandline import output
from yoq_web import current_operations

BEFORE = {
    "secret_set": "before",
    "secret_delete": "before",
    "secret_rotate": "version",  # the value stays
    "key_rotate": "dropped",
    "key_rewrap": "before",
    "policy_add": "before",
    "policy_delete": "before",
    "token_revoke": "before",
    "agent_drain": "before",
    "agent_drain_end": "address",  # it was draining
    "agent_undrain": "before",
    "agent_remove": "before",
    "agent_label": "before",
    "agent_offline": "last_heartbeat",  # it was active
    "agent_forget": "labels",
    "app_apply": "before",
    "app_rollback": "before",
    "app_pause": "before",
    "app_resume": "before",
    "app_cancel": "before",
    "app_rollout_end": "release_id",  # it was in progress
    "app_move": "agent",
    "backup_delete": "bytes",
    "restore": "kept",
    "audit_prune": "minimum_before",
    "audit_erase": "index",
    "audit_settle": "machine",  # it was `started`
    "audit_key_rotate": "previous",
    "audit_head_accept": "size",  # there was none
}
"""By operation that changes, replaces or removes: the detail that says what there was, or why it need not be said."""


@pytest.fixture
def shop(make_app: MakeApp) -> Shop:
    """A cluster."""
    return Shop(make_app)


def details(api: Api, action: str) -> list[Any]:
    """The details of the entries of an action, the oldest first."""
    return [entry["details"] for entry in reversed(api.entries()) if entry["action"] == action]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_operation_that_changes_something_says_what_was_there(app: Flask) -> None:
    """None is left out, however it comes: what the program has is looked through."""
    with app.app_context():
        operations = current_operations().copy()
    changing = {name for name, found in operations.items() if found.activity in ("update", "delete")}
    assert changing <= set(BEFORE), "say in this test by which detail it records what was there before"
    for name, detail in BEFORE.items():
        assert detail in operations[name].details, name


def test_of_a_secret_the_versions_are_known(app: Flask, api: Api) -> None:
    """Each value has a number; a secret that was deleted begins anew. No value is in any entry."""
    for value in ("hunter1", "hunter2"):
        assert api("POST", "/v1/secrets", json={"name": "db", "value": value}).status_code == 200
    assert output(app, "secret", "rotate", "db")
    assert output(app, "secret", "get", "db") == "hunter2\n"
    assert api("DELETE", "/v1/secrets/db").status_code == 200
    api("POST", "/v1/secrets", json={"name": "db", "value": "hunter3"})
    assert details(api, "secret_set") == [
        {"version": 1, "before": None},
        {"version": 2, "before": 1},
        {"version": 1, "before": None},
    ]
    assert [found["version"] for found in details(api, "secret_rotate") + details(api, "secret_get")] == [2, 2]
    assert details(api, "secret_delete") == [{"before": 2}]
    assert "hunter" not in str(api.entries())


def test_of_a_policy_both_ends_and_the_old_rule_are_known(api: Api) -> None:
    """Whatever is in the names: `a->b` to `c` and `a` to `b->c` have one target, and details of their own."""
    for source, target, action in (("a->b", "c", "allow"), ("a", "b->c", "deny"), ("a", "b->c", "allow")):
        api("POST", "/v1/policies", json={"source": source, "target": target, "action": action})
    for target in ("b->c", "b->c"):
        api("DELETE", f"/v1/policies/a/{target}")
    first, second = {"source": "a->b", "destination": "c"}, {"source": "a", "destination": "b->c"}
    assert details(api, "policy_add") == [
        first | {"action": "allow", "before": None},
        second | {"action": "deny", "before": None},
        second | {"action": "allow", "before": "deny"},
    ]
    assert details(api, "policy_delete") == [second | {"before": "allow"}, second | {"before": None}]


def test_long_names_are_whole_in_the_details(api: Api) -> None:
    """A target of more than 256 bytes is marked as cut, and what was cut away stands beside it."""
    names = {"source": "s" * 253, "target": "t" * 256}
    api("POST", "/v1/policies", json=names | {"action": "deny"})
    (entry,) = api.entries()
    assert entry["target"] == "s" * 253 + "…"
    assert entry["details"] == {
        "source": names["source"],
        "destination": names["target"],
        "action": "deny",
        "before": None,
        "cut": ["target: 511 bytes"],
    }


def test_of_a_revoked_token_all_is_known_that_it_could_do(api: Api) -> None:
    """What it held, how long it was good for, and whether it was still good."""
    api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["secrets:read", "apps:*"], "ttl": "1h"})
    for _ in range(2):
        assert api("DELETE", "/v1/tokens/ci").status_code == 200
    (made,) = details(api, "token_create")
    assert details(api, "token_revoke") == [made | {"before": "active"}, made | {"before": "revoked"}]


def test_of_an_agent_what_it_was_before_is_known(shop: Shop) -> None:
    """Its address beside its id, and its labels and status until then, also when it is forgotten."""
    agent = shop.join(labels="zone=a")
    for word in ("drain", "drain", "undrain"):
        assert shop.operator("POST", f"/v1/agents/{agent}/{word}").status_code == 200
    shop.operator("PUT", f"/v1/agents/{agent}/labels", json={"labels": "zone=b"})
    shop.lose(agent)
    shop.age(agent, 7200)
    shop.lose(agent)
    found = {action: details(shop.operator, f"agent_{action}") for action in ("drain", "undrain", "label", "forget")}
    address = shop.operator.entries()[-1]["target"]
    assert found["drain"] == [{"address": address, "before": word} for word in ("active", "draining")]
    assert found["undrain"] == [{"address": address, "before": "draining"}]
    assert found["label"] == [{"labels": "zone=b", "address": address, "before": "zone=a"}]
    assert (found["forget"][0]["address"], found["forget"][0]["labels"]) == (address, "zone=b")


def test_of_an_app_the_release_before_is_known(shop: Shop) -> None:
    """What was applied over, and what an operator had said of the rollout."""
    shop.join()
    first = shop.apply(service("a"))["release_id"]
    second = shop.apply(service("a", "img:2"))["release_id"]
    third = shop.post("/shop/rollback", {})["release_id"]
    shop.apply(service("a", "img:3"), rollout=HEALTH)
    for word in ("pause", "resume", "pause", "cancel"):
        shop.post(f"/shop/{word}")
    assert [found["before"] for found in details(shop.operator, "app_apply")] == [None, first, third]
    assert [found["before"] for found in details(shop.operator, "app_rollback")] == [second]
    said = {word: [found["before"] for found in details(shop.operator, f"app_{word}")] for word in ("pause", "cancel")}
    assert said == {"pause": ["active", "active"], "cancel": ["paused"]}
    assert [found["before"] for found in details(shop.operator, "app_resume")] == ["paused"]
