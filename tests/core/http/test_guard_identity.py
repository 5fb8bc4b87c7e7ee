"""Who and which: request ids, and the address that a request came from."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Api, MakeApp
from tests.support.apps import HEALTH, Shop, service
from yoq_web.settings import SettingsError

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


def peer_of(api: Api, address: str, forwarded: str | None = None) -> str | None:
    """The address recorded for a request that arrives from `address` with this X-Forwarded-For."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    answer = api(
        "POST",
        "/v1/secrets",
        json={"name": "a", "value": "v"},
        headers=headers,
        environ_overrides={"REMOTE_ADDR": address},
    )
    assert answer.status_code == 200
    peer: str | None = api.entries(1)[0]["peer"]
    return peer


@on_one_database
@pytest.mark.parametrize("forwarded", [None, "1.2.3.4", "127.0.0.1", "1.2.3.4, 5.6.7.8"])
def test_without_proxies_only_the_connection_counts(api: Api, forwarded: str | None) -> None:
    """X-Forwarded-For is anybody's word; with no proxy configured nobody's is believed."""
    assert peer_of(api, "192.0.2.7", forwarded) == "192.0.2.7"


@on_one_database
@pytest.mark.parametrize(
    ("address", "forwarded", "peer"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "6.6.6.6,192.0.2.7,fd00::1", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "2001:DB8::7", "2001:db8::7"),
        ("fd00::1", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.9", "1.2.3.4", "192.0.2.9"),
        ("192.0.2.9", "1.2.3.4, 10.0.0.1", "192.0.2.9"),
        ("11.0.0.1", "1.2.3.4", "11.0.0.1"),
    ],
)
def test_only_proxies_are_believed(make_app: MakeApp, address: str, forwarded: str | None, peer: str) -> None:
    """The nearest address that is not a configured proxy counts; what lies beyond an untrusted one is ignored."""
    api = Api(make_app(YOQ_TRUSTED_PROXIES="10.0.0.0/8, fd00::1"))
    assert peer_of(api, address, forwarded) == peer


def test_failed_attempts_are_counted_by_the_believed_address(make_app: MakeApp) -> None:
    """A caller cannot slip out of the limit by forging X-Forwarded-For, nor push another address into it."""
    nobody = Api(make_app(YOQ_TRUSTED_PROXIES="10.0.0.1"), token=None)

    def attempt(forwarded: str, address: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        return nobody("GET", "/v1/audit", headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code

    forged = [attempt(f"192.0.2.{number}", "203.0.113.5") for number in range(25)]
    assert 429 in forged
    assert attempt("192.0.2.1", "10.0.0.1") == 401


def test_a_proxy_that_is_no_address_stops_start_up(make_app: MakeApp) -> None:
    """A mistyped proxy is told, not skipped."""
    with pytest.raises(SettingsError, match=r"YOQ_TRUSTED_PROXIES: 'proxy\.example'"):
        make_app(YOQ_TRUSTED_PROXIES="10.0.0.1 proxy.example")
