"""Which request it was: the ids that come in, go out and are recorded."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Api, MakeApp
from tests.support.apps import HEALTH, Shop, service

# Tables of what is decided without a look at the database run on one of them.
on_one_database = pytest.mark.parametrize("backend", ["sqlite"])


@on_one_database
@pytest.mark.parametrize("given", ["r1", "A.b_c-9", "x" * 64, "0190a8e2-5c1f-7a3e-9f00-aabbccddeeff"])
def test_a_request_id_is_taken_returned_and_recorded(api: Api, given: str) -> None:
    """A caller's own id comes back in the answer and stands in the entry."""
    answer = api("POST", "/v1/secrets", json={"name": "a", "value": "v"}, headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == given
    assert api.entries(1)[0]["request_id"] == given


@on_one_database
@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a;b", "a\tb", "\xe4", "a,b", "<x>"])
def test_any_other_request_id_is_replaced(api: Api, given: str | None) -> None:
    """What could forge a log line or fill the trail is not taken; the request gets an id of ours."""
    environ = {} if given is None else {"HTTP_X_REQUEST_ID": given}
    answer = api("POST", "/v1/secrets", json={"name": "a", "value": "v"}, environ_overrides=environ)
    assert answer.status_code == 200
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert api.entries(1)[0]["request_id"] == answer.headers["X-Request-Id"]


@on_one_database
def test_the_audit_id_is_that_of_the_callers_own_deed(make_app: MakeApp) -> None:
    """What follows by itself, as a rollout's end does when it is cancelled, is recorded too, but is not his receipt."""
    shop = Shop(make_app)
    shop.join()
    shop.apply(service("a", "img:1"))
    shop.apply(service("a", "img:2"), rollout=HEALTH)
    answer = shop.operator("POST", "/v1/apps/shop/cancel")
    entries = {entry["action"]: entry for entry in shop.operator.entries()}
    assert entries["app_rollout_end"]["actor"] == "system"
    assert answer.headers["Audit-Id"] == entries["app_cancel"]["event_id"]


def test_every_answer_has_a_request_id(api: Api) -> None:
    """Errors at every stage carry the id too, in the header and in the document."""
    nobody = api.with_token(None)
    for client, method, path in (
        (nobody, "PATCH", "/health"),
        (nobody, "GET", "/v1/audit"),
        (api, "GET", "/nowhere"),
        (api, "PUT", "/v1/secrets"),
        (api, "POST", "/v1/secrets"),
    ):
        answer = client(method, path, headers={"X-Request-Id": "r1"})
        assert answer.status_code >= 400
        assert answer.headers["X-Request-Id"] == "r1"
        assert answer.json["request_id"] == "r1"  # type: ignore[index]


def test_two_requests_get_two_ids(api: Api) -> None:
    """Ids of ours are not given twice."""
    assert api("GET", "/health").headers["X-Request-Id"] != api("GET", "/health").headers["X-Request-Id"]
