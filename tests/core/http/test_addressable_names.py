"""What can be made can be addressed: by every route, under every name, or the name is refused when it is made."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.conftest import Api, MakeApp
from tests.support.agents import Cluster
from tests.support.apps import manifest, service

NAMES = [
    *("ci/deploy", "/", "//", "a//b", "/a", "a/", "a/history", "a/workers/b/run", ".", "..", "../a", "a/../b", "./a"),
    *(
        "a b",
        " a ",
        "a?b",
        "a#b",
        "a%2Fb",
        "%",
        "a;b",
        "a=b&c",
        "a+b",
        "a\\b",
        "a:b",
        "a->b",
        "ü",
        "\N{SNOWMAN}",
        "a\nb",
    ),
    *("x" * 256, "'", '"', "<a>", "entries", "diff", "peers"),
]


def path_of(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("name", NAMES)
def test_secrets_and_tokens(api: Api, name: str) -> None:
    """A secret is deleted and a token revoked under whatever name it was made."""
    for kind, body in (("secrets", {"value": "v"}), ("tokens", {"scopes": ["policies:read"]})):
        made = api("POST", f"/v1/{kind}", json={"name": name, **body})
        if made.status_code == 400:
            assert made.get_json()["error"] == "invalid name"
            assert kind == "tokens" or name in (".", "..")
            continue
        assert api("DELETE", f"/v1/{kind}/{path_of(name)}").status_code == 200
        entry = api.entries(1)[0]
        assert (entry["target"], entry["outcome"]) == (name, "ok")
    assert api("GET", "/v1/secrets").get_json() == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_token_with_a_slash_stops_working(api: Api) -> None:
    """A revoked token is nobody, however it is called."""
    ci = api.token("policies:read", name="ci/deploy")
    assert ci("GET", "/v1/policies").status_code == 200
    assert api("DELETE", "/v1/tokens/ci%2Fdeploy").status_code == 200
    assert ci("GET", "/v1/policies").status_code == 401


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("name", NAMES)
def test_policies(api: Api, name: str) -> None:
    """A policy is deleted by its two names in the query, whatever they are, and by the path if there is no slash."""
    for source, target in ((name, "db"), ("db", name)):
        body = {"source": source, "target": target, "action": "deny"}
        if api("POST", "/v1/policies", json=body).status_code == 400:
            assert name in (".", "..")
            continue
        answer = api("DELETE", "/v1/policies", query_string={"source": source, "target": target})
        assert answer.status_code == 200
        assert api("GET", "/v1/policies").get_json() == []
        if "/" not in name:
            api("POST", "/v1/policies", json=body)
            assert api("DELETE", f"/v1/policies/{path_of(source)}/{path_of(target)}").status_code == 200
            assert api("GET", "/v1/policies").get_json() == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_apps(make_app: MakeApp) -> None:
    """An app is shown by the name under which it was applied, and a worker of any name can be run."""
    cluster = Cluster(make_app)
    cluster.join()
    api = cluster.operator
    for name in NAMES:
        document = manifest(service("a"), app=name) | {"workers": [{"name": name, "image": "w:1"}]}
        made = api("POST", "/v1/apps", json=document)
        if made.status_code == 400:
            assert made.get_json()["error"] == "invalid app_name"
            assert "/" in name or name in (".", "..")
            continue
        shown = api("GET", f"/v1/apps/{path_of(name)}")
        assert shown.status_code == 200, name
        assert shown.get_json()["app_name"] == name
        assert api("GET", f"/v1/apps/{path_of(name)}/history").get_json()[0]["app"] == name
    document = manifest(service("a"), app="shop") | {"workers": [{"name": name, "image": "w:1"} for name in NAMES]}
    assert api("POST", "/v1/apps", json=document).status_code == 200
    for name in NAMES:
        if name not in (".", ".."):
            ran = api("POST", f"/v1/apps/shop/workers/{path_of(name)}/run")
            assert (ran.status_code, ran.get_json().get("worker")) == (200, name)
