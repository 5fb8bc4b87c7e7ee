"""The server's own routes: health, version, metrics and the page for people."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from tests.conftest import Api, MakeApp
from tests.support.door import behind
from tests.support.postgres import Postgres
from yoq_web import Contribution, create_app, db, hookimpl
from yoq_web.http.endpoints import find_declaration
from yoq_web.settings import VERSION


class Broken:
    """A plugin that cannot say what it adds."""

    name = "broken"

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Fail."""
        raise RuntimeError("hunter2")


def test_a_good_server_is_ok(app: Flask) -> None:
    """Anybody may ask for health and version, in yoq's form."""
    stranger = Api(app, token=None)
    answer = stranger("GET", "/health")
    assert (answer.status_code, answer.text) == (200, '{"status":"ok"}')
    answer = stranger("GET", "/version")
    assert (answer.status_code, answer.text) == (200, f'{{"version":"{VERSION}"}}')


def test_a_refused_plugin_degrades(make_app: MakeApp) -> None:
    """A server without one of its plugins works, is degraded and says which; not why, which may be secret."""
    answer = Api(make_app(Broken()), token=None)("GET", "/health")
    assert (answer.status_code, answer.text) == (200, '{"status":"degraded","plugins_refused":["broken"]}')


def test_a_lineage_behind_degrades(app: Flask, database_url: str) -> None:
    """A server whose database is not as its software wants it is degraded and says whose tables are behind."""
    behind(database_url, "UPDATE alembic_version_audit SET version_num = 'none'")
    answer = Api(app, token=None)("GET", "/health")
    assert (answer.status_code, answer.get_json()["lineages_behind"]) == (200, ["audit"])


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_database_file_that_is_gone_is_unavailable(make_app: MakeApp, tmp_path: Path) -> None:
    """Without its database file the server is unavailable, and does not quietly begin with an empty one."""
    app = make_app()
    stranger = Api(app, token=None)
    assert stranger("GET", "/health").status_code == 200
    shutil.move(tmp_path / "yoq.db", tmp_path / "moved.db")
    answer = stranger("GET", "/health")
    assert (answer.status_code, answer.get_json()["status"]) == (503, "unavailable")
    assert Api(app)("POST", "/v1/secrets", json={"name": "lost", "value": "x"}).status_code == 503
    assert not (tmp_path / "yoq.db").exists()
    shutil.move(tmp_path / "moved.db", tmp_path / "yoq.db")
    assert stranger("GET", "/health").status_code == 200


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_database_that_refuses_is_unavailable_until_it_is_back(
    make_app: MakeApp, postgres: Postgres, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While PostgreSQL lets nobody in the server answers 503 without a traceback, and recovers by itself."""
    stranger = Api(make_app(), token=None)
    assert stranger("GET", "/health").status_code == 200
    name = make_url(database_url).database
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    answer = stranger("GET", "/health")
    assert (answer.status_code, answer.get_json()["status"]) == (503, "unavailable")
    assert "Traceback" not in answer.text + caplog.text
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert stranger("GET", "/health").get_json() == {"status": "ok"}


def test_a_database_without_tables_is_said_to_be_behind(empty_url: str, tmp_path: Path) -> None:
    """A server on a database that nobody made ready says so instead of failing."""
    app = create_app({"YOQ_DATA_DIR": str(tmp_path), "YOQ_DATABASE_URL": empty_url, "YOQ_API_TOKEN": "a" * 64})
    answer = Api(app, token=None)("GET", "/health")
    assert answer.get_json()["lineages_behind"] == ["core", "audit"]
    with app.app_context():
        db.engine.dispose()


def test_metrics_need_their_scope(api: Api) -> None:
    """The metrics are for holders of status:read only."""
    assert api.with_token(None)("GET", "/metrics").status_code == 401
    assert api.token("secrets:*", name="other")("GET", "/metrics").status_code == 403
    assert api.token("status:read", name="prometheus")("GET", "/metrics").status_code == 200


def samples(api: Api, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """One metric's samples by their labels."""
    families = text_string_to_metric_families(api("GET", "/metrics").text)
    return {
        frozenset(sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_operations_are_counted_by_action_and_outcome(api: Api) -> None:
    """What ended is counted under its action and how it ended, a denial under the action that was refused."""
    reader = api.token("secrets:read")
    api("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    api("POST", "/v1/secrets", json={"name": "db", "value": "hunter3"})
    reader("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"})
    api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["*"]})
    counted = {
        tuple(dict(labels)[key] for key in ("action", "outcome")): value
        for labels, value in samples(api, "yoq_operations_total").items()
    }
    assert counted == {
        ("secret_set", "ok"): 2,
        ("secret_set", "denied"): 1,
        ("token_create", "ok"): 1,
        ("token_create", "failed"): 1,
    }
    assert "hunter" not in api("GET", "/metrics").text


def test_labels_are_bounded(api: Api) -> None:
    """Whatever paths, methods and names callers think of, the metrics gain no further series."""
    samples(api, "yoq_requests_total")
    before = len(samples(api, "yoq_requests_total"))
    for number in range(20):
        api("GET", f"/v1/unknown-{number}")
        api(f"FOO{number}", "/v1/secrets")
        api("GET", f"/v1/audit/entries/{number}", headers={"X-Request-Id": str(number)})
    series = samples(api, "yoq_requests_total")
    assert len(series) <= before + 3
    assert not any(re.search("unknown|FOO", str(labels)) for labels in series)


class Page(HTMLParser):
    """What matters of a page: its text, and what it would load from elsewhere."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        values = dict(attrs)
        self.tags.append(tag)
        self.loads += [values[name] or "" for name in ("src", "srcset") if name in values]
        self.links += [values["href"] or ""] if "href" in values else []
        self.ids += [values["id"] or ""] if "id" in values else []

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def test_the_page_shows_every_route_and_needs_nothing_else(app: Flask) -> None:
    """/docs shows every route to anybody, loads nothing, runs no script, and its links lead somewhere."""
    stranger = Api(app, token=None)
    answer = stranger("GET", "/docs")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    page = Page(answer.text)
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert not page.loads
    for rule in app.url_map.iter_rules():
        declaration = find_declaration(app.view_functions[rule.endpoint])
        assert declaration
        assert declaration.hidden or re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) in page.text
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert not link.startswith("/")  # a proxy may have taken a prefix away
            assert stranger("GET", urljoin("/docs", link)).status_code == 200
