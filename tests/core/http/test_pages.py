"""Lists over HTTP are bounded and can be walked in pages: every one of them, in its own order, to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, get_origin, get_type_hints
from urllib.parse import urljoin

import pytest
from flask import Flask
from sqlalchemy import insert
from werkzeug.routing import Rule

from tests.conftest import Api, MakeApp
from tests.support.apps import Shop, service
from tests.support.commandline import output
from yoq_web import Page, PageQuery, current_settings, unit_of_work
from yoq_web.database.pages import MOST, Key
from yoq_web.http.endpoints import find_declaration
from yoq_web.http.pages import make_page_link
from yoq_web.policies.models import Policy
from yoq_web.secrets.models import Secret

SEVEN = range(7)
"""More than two pages of three."""

BOUNDED: dict[str, str] = {
    "/v1/audit": "pages of its own, at most 500 entries each: all show what was there when the first was read",
    "/agents": "as much as yoq's client takes, which is 64 KiB",
    "/apps": "as above",
    "/apps/<app>/history": "as above",
    "/agents/<agent>/assignments": "as above",
    "/wireguard/peers": "as above",
    "/v1/status": "as above",
    "/v1/status/bpf": "it is empty",
    "/v1/metrics": "it is empty",
    "/cluster/peers/info": "it has one member",
    "/v1/audit/log/key/announcements": "one for each key that the log ever had",
}
"""Lists without pages, and what bounds them."""


def answers_list(app: Flask, rule: Rule) -> bool:
    """Whether a route that reads answers a list, by what it declares or by what its view returns."""
    view = app.view_functions[rule.endpoint]
    declaration = find_declaration(view)
    if declaration is None or "GET" not in (rule.methods or ()):
        return False
    returned = get_type_hints(getattr(view, "__wrapped__", view)).get("return")
    return any(get_origin(kind) in (list, Page) for kind in (declaration.answer, returned))


def is_paged(app: Flask, rule: Rule) -> bool:
    """Whether a route takes the parameters of pages."""
    declaration = find_declaration(app.view_functions[rule.endpoint])
    return bool(declaration and declaration.query and issubclass(declaration.query, PageQuery))


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_list_is_bounded(app: Flask) -> None:
    """Whatever answers a list takes a limit and a cursor, or is known to be short."""
    lists = [rule for rule in app.url_map.iter_rules() if answers_list(app, rule)]
    unpaged = {rule.rule for rule in lists if not is_paged(app, rule)}
    assert unpaged <= set(BOUNDED), "give it query=PageQuery"
    assert {rule.rule for rule in lists} - unpaged == set(FILL)


def name_secrets(shop: Shop) -> str:
    """Names whose bytes are in another order than most collations have."""
    for name in ("b", "B", "é", "a/b", "Ω", "_", "\x01" * 256):
        assert shop.operator("POST", "/v1/secrets", json={"name": name, "value": "v"}).status_code == 200
    return "/v1/secrets"


def make_tokens(shop: Shop) -> str:
    """Several in one second, which only their numbers tell apart."""
    for number in SEVEN:
        shop.operator.token("secrets:read", name=f"t{number}")
    return "/v1/tokens"


def add_policies(shop: Shop) -> str:
    """Rules."""
    for number in SEVEN:
        policy = {"source": f"s{number % 3}", "target": f"t{number}", "action": "deny"}
        assert shop.operator("POST", "/v1/policies", json=policy).status_code == 200
    return "/v1/policies"


def take_backups(shop: Shop) -> str:
    """Files with the names of backups, and one that is none."""
    folder = current_settings(shop.app).data_dir / "backups"
    folder.mkdir()
    for number in SEVEN:
        (folder / f"20260101-0000{number:02}.yoqbackup").write_bytes(b"")
    (folder / "other").write_bytes(b"")
    return "/v1/backups"


def join_agents(shop: Shop) -> str:
    """Agents."""
    for _ in SEVEN:
        shop.join()
    return "/v1/agents"


def join_peers(shop: Shop) -> str:
    """Agents with a place in the overlay network."""
    for number in SEVEN:
        shop.join(wg_public_key=f"key{number}")
    return "/v1/agents/peers"


def assign(shop: Shop) -> str:
    """Services on one agent."""
    agent = shop.join(cpu_cores=64, memory_mb=65_536)
    shop.apply(*(service(f"s{number}") for number in SEVEN))
    return f"/v1/agents/{agent}/assignments"


def apply_apps(shop: Shop) -> str:
    """Apps, of which some have a release to go back to."""
    shop.join()
    for number in (*SEVEN, 2, 5):
        shop.apply(service("web"), app=f"app{number}")
    return "/v1/apps"


def apply_often(shop: Shop) -> str:
    """Releases of one app."""
    shop.join()
    for number in SEVEN:
        shop.apply(service("web", f"img:{number}"))
    return "/v1/apps/shop/history"


FILL: dict[str, Callable[[Shop], str]] = {
    "/v1/secrets": name_secrets,
    "/v1/tokens": make_tokens,
    "/v1/policies": add_policies,
    "/v1/backups": take_backups,
    "/v1/agents": join_agents,
    "/v1/agents/peers": join_peers,
    "/v1/agents/<agent>/assignments": assign,
    "/v1/apps": apply_apps,
    "/v1/apps/<name:app>/history": apply_often,
}
"""What makes at least seven items of each list, and where that then is."""


def client(shop: Shop, rule: str) -> Api:
    """Who may read a list."""
    return shop.agents if rule.endswith(("/peers", "/assignments")) else shop.operator


def read(api: Api, path: str) -> tuple[list[Any], str | None]:
    """One page, and where the next one is."""
    answer = api("GET", path)
    assert answer.status_code == 200, answer.text
    link = answer.headers.get("Link")
    if link is None:
        return answer.get_json(), None
    place, _, relation = link.partition("; ")
    assert relation == 'rel="next"'
    return answer.get_json(), urljoin(answer.request.path, place.strip("<>"))


def walk(api: Api, path: str) -> Iterator[list[Any]]:
    """Each page from this one on."""
    following: str | None = path
    while following is not None:
        found, following = read(api, following)
        yield found


@pytest.mark.parametrize("rule", FILL)
def test_a_walk_shows_what_the_whole_list_does(make_app: MakeApp, rule: str) -> None:
    """In pages of any length it is the same list, in the same order, and the last page leads nowhere."""
    shop = Shop(make_app)
    path, api = FILL[rule](shop), client(shop, rule)
    whole, following = read(api, path)
    assert len(whole) == 7
    assert following is None
    for limit in (1, 3, 6, 7, 500):
        pages = list(walk(api, f"{path}?limit={limit}"))
        assert [item for page in pages for item in page] == whole
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert len(pages) == -(-7 // limit)


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("rule", FILL)
def test_parameters_that_cannot_be_are_named(make_app: MakeApp, rule: str) -> None:
    """What a list does not know is refused by name, and so is what is no limit, or a cursor of something else."""
    shop = Shop(make_app)
    path, api = FILL[rule](shop), client(shop, rule)
    following = read(api, f"{path}?limit=2")[1]
    assert following is not None
    cursor = following.rpartition("cursor=")[2]
    other = make_cursor(shop.app, "/v1/elsewhere", ("a",))
    refused = {
        "pgae=2": "unknown parameter pgae",
        "limit=0": "invalid limit",
        "limit=-1": "invalid limit",
        "limit=x": "invalid limit",
        f"limit={MOST + 1}": "invalid limit",
        "cursor=": "invalid cursor",
        "cursor=x": "invalid cursor",
        f"cursor={cursor[:-2]}": "invalid cursor",
        f"cursor={cursor}=": "invalid cursor",
        f"cursor={other}": "invalid cursor",
    }
    for key in FORGED:
        text = make_cursor(shop.app, path, key)
        answer = api("GET", f"{path}?cursor={text}")
        assert answer.status_code in (200, 400), (key, answer.text)
    for query, error in refused.items():
        answer = api("GET", f"{path}?{query}")
        assert (answer.status_code, answer.get_json()["error"]) == (400, error), query


FORGED: Sequence[Key] = (
    *(("a",), (5,), (2**63,), ("\ud800",), ()),
    *(("a", "b"), (1, "b"), (1, 2), (2**63, 2**63), (1, 2, 3)),
)
"""Keys of which each belongs to few lists, or to none."""


def make_cursor(app: Flask, path: str, key: Key) -> str:
    """A cursor as the program makes it, with any key."""
    with app.test_request_context(path), suppress(UnicodeEncodeError):
        return make_page_link(key).partition("cursor=")[2].partition(">")[0]
    return "x"


def test_a_walk_misses_none_of_those_that_were_there(make_app: MakeApp) -> None:
    """However many are added and removed meanwhile, behind and before it, what stays is shown once."""
    api = Api(make_app())
    names = [f"n{number:02}" for number in range(20)]
    for name in names:
        api("POST", "/v1/secrets", json={"name": name, "value": "v"})
    seen = []
    for page in walk(api, "/v1/secrets?limit=3"):
        seen += page
        last = page[-1]
        api("DELETE", f"/v1/secrets/{last}")
        api("POST", "/v1/secrets", json={"name": f"a{last}", "value": "v"})
    assert seen == names


def test_a_list_that_is_too_long_says_where_it_goes_on(make_app: MakeApp) -> None:
    """Without a limit it ends at a documented bound, and not without a word; commands show all of it."""
    app = make_app()
    api = Api(app)
    count = MOST + 5
    assert api("POST", "/v1/secrets", json={"name": "n", "value": "v"}).status_code == 200
    with app.app_context(), unit_of_work() as session:
        row = session.get(Secret, "n")
        assert row is not None
        columns = {column.name: getattr(row, column.name) for column in Secret.__table__.columns}
        session.execute(insert(Secret), [columns | {"name": f"n{number:05}"} for number in range(1, count)])
        rule = {"target": "t", "action": "deny", "created_at": 1}
        session.execute(insert(Policy), [rule | {"source": f"s{number}"} for number in range(count)])
    for path in ("/v1/secrets", "/v1/policies"):
        found, following = read(api, path)
        assert len(found) == MOST
        assert following is not None
        assert sum(map(len, walk(api, following))) == 5
    assert len(json.loads(output(app, "secret", "list", "--json"))) == count
    assert len(json.loads(output(app, "policy", "list", "--json"))) == count
    assert len(output(app, "policy", "list").splitlines()) == count + 1


def test_the_parameters_are_kept_on_the_way(make_app: MakeApp) -> None:
    """The link repeats what was asked for, and nothing twice."""
    shop = Shop(make_app)
    join_peers(shop)
    shop.join(role="agent", wg_public_key="alone")
    path = "/v1/agents/peers?servers_only=1&limit=3"
    assert [len(page) for page in walk(shop.agents, path)] == [3, 3, 1]
    following = read(shop.agents, str(read(shop.agents, path)[1]))[1]
    assert str(following).count("cursor=") == str(following).count("limit=") == 1
    path = apply_often(shop)
    newest = shop.operator("GET", path).get_json()
    assert [len(page) for page in walk(shop.operator, f"{path}?limit=2&before={newest[1]['id']}")] == [2, 2, 1]
