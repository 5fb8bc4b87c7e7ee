"""The peer: the address that a request came from, however the proxies in between write it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from yoq_web.http.peers import read_address
from yoq_web.settings import SettingsError

# Decided without a look at the database.
on_one_database = pytest.mark.parametrize("backend", ["sqlite"])

FORMS = {
    "203.0.113.9": ("203.0.113.9", "203.0.113.9:4711", '"203.0.113.9"', '"203.0.113.9:4711"', " 203.0.113.9\t"),
    "2001:db8::7": (
        "2001:db8::7",
        "2001:DB8:0:0:0:0:0:7",
        "[2001:db8::7]",
        "[2001:db8::7]:443",
        '"[2001:db8::7]"',
        '"[2001:db8::7]:443"',
        "2001:db8:0:0:0:0:0:7:443",
    ),
    "192.0.2.1": ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80", "::ffff:c000:201"),
    "fe80::1": ("fe80::1%eth0", "[fe80::1%eth0]:80", "fe80::1%25eth0"),
}
"""An address, and how load balancers write it."""

NO_ADDRESSES = (
    "",
    "unknown",
    "_hidden",
    "nonsense",
    "203.0.113.9:",
    "203.0.113.9:http",
    "203.0.113.9:٤",
    "203.0.113",
    "[2001:db8::7",
    "[2001:db8::7]443",
    "[]",
    "::1::2",
    "'203.0.113.9'",
)


@pytest.mark.parametrize(("address", "form"), [(address, form) for address, forms in FORMS.items() for form in forms])
def test_every_way_of_writing_is_read(address: str, form: str) -> None:
    """As one and the same address, so that it is counted, filtered and locked out as one."""
    assert read_address(form) == address


@pytest.mark.parametrize("form", NO_ADDRESSES)
def test_what_is_no_address_is_not_read(form: str) -> None:
    """Nothing is guessed."""
    assert read_address(form) is None


def peer_of(api: Api, address: str, forwarded: str | None = None, **more: str) -> str | None:
    """The address recorded for a request that arrives from `address` with this X-Forwarded-For, and more headers."""
    headers = more if forwarded is None else {"X-Forwarded-For": forwarded} | more
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


@on_one_database
@pytest.mark.parametrize(("address", "form"), [(address, form) for address, forms in FORMS.items() for form in forms])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_the_peer_is_behind_any_load_balancer(make_app: MakeApp, header: str, address: str, form: str) -> None:
    """Whichever header it writes and however, alone, behind a client's forgery and behind another proxy."""
    api = Api(make_app(YOQ_TRUSTED_PROXIES="10.0.0.0/8"))

    def write(*words: str) -> str:
        if header == "X-Forwarded-For":
            return ", ".join(words)
        return ", ".join(f"by=_us;For={word};proto=https" for word in words)

    for words in ((form,), ("6.6.6.6", form), (form, "10.0.0.2:81"), ('"', form), ('"6.6.6.6', form, "10.0.0.2")):
        assert peer_of(api, "10.0.0.1", **{header: write(*words)}) == address


@on_one_database
def test_one_header_counts(make_app: MakeApp) -> None:
    """`X-Forwarded-For` where there is one, as a proxy that writes it passes a client's `Forwarded` on."""
    api = Api(make_app(YOQ_TRUSTED_PROXIES="10.0.0.0/8"))
    assert peer_of(api, "10.0.0.1", "192.0.2.7", Forwarded="for=6.6.6.6") == "192.0.2.7"
    assert peer_of(api, "10.0.0.1", " ,", Forwarded="for=192.0.2.8") == "192.0.2.8"
    assert peer_of(api, "10.0.0.1", Forwarded="for=6.6.6.6, proto=https") == "10.0.0.1"
    assert peer_of(api, "10.0.0.1", Forwarded='for="[2001:db8::7]:443";host="a,b", for=10.0.0.3') == "2001:db8::7"


@on_one_database
@pytest.mark.parametrize("proxies", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "10.0.0.1"])
def test_mapped_addresses_are_the_ones_they_stand_for(make_app: MakeApp, proxies: str) -> None:
    """A socket for both families shows IPv4 addresses mapped into IPv6: as proxies and as peers they are IPv4's."""
    api = Api(make_app(YOQ_TRUSTED_PROXIES=proxies))
    assert peer_of(api, "::ffff:10.0.0.1", "192.0.2.7") == "192.0.2.7"
    assert peer_of(api, "10.0.0.1", "192.0.2.7") == "192.0.2.7"
    assert peer_of(api, "::ffff:192.0.2.7", "6.6.6.6") == "192.0.2.7"


@on_one_database
def test_what_cannot_be_read_is_told_once(make_app: MakeApp) -> None:
    """For each proxy; the entry has the proxy's own address."""
    api = Api(make_app(YOQ_TRUSTED_PROXIES="10.0.0.0/8"))
    with capture_logs() as logs:
        for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
            assert peer_of(api, address, "192.0.2.7, unknown") == address
    told = [(line["proxy"], line["said"]) for line in logs if "cannot be read" in line["event"]]
    assert told == [("10.0.0.1", " unknown"), ("10.0.0.2", " unknown")]
