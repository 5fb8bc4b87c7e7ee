"""A third party's plugin, really installed: it works, is audited, and harms nobody when it is taken away again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ADMIN, MakeApp
from tests.support.pages import blocks, page
from tests.support.served import Served, command, serve
from yoq_web.hooks.host import current_host

HERE = Path(__file__).parents[1]
PLUGIN = HERE / "thirdparty" / "yoq_notices"
MODULE = PLUGIN / "yoq_notices" / "__init__.py"

Run = Callable[..., str]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the plugin as pip installs it; the tests' own environment stays as it is."""
    target = tmp_path_factory.mktemp("installed")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", target, PLUGIN],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return str(target)


@pytest.fixture
def run(tmp_path: Path, empty_url: str) -> Run:
    """Run a command that must succeed, on a database that begins empty; returns its output."""

    def run(*arguments: str, **settings: str) -> str:
        done = command(tmp_path, *arguments, YOQ_DATABASE_URL=empty_url, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_plugin_is_short() -> None:
    """Scopes, audit, command line, OpenAPI and migrations cost a plugin's author no more than 25 lines."""
    assert len(MODULE.read_text().splitlines()) <= 25


def test_the_tutorial_shows_the_plugin() -> None:
    """The tutorial's plugin is the one that is tested, word for word."""
    tutorial = page("plugins/index.md")
    assert f"```python\n{MODULE.read_text()}```" in tutorial
    assert (PLUGIN / "pyproject.toml").read_text().partition("\n")[2] in tutorial


def test_the_page_on_testing_works(installed: str, tmp_path: Path) -> None:
    """What the page on testing shows is a test, and passes."""
    (tmp_path / "test_shown.py").write_text(blocks(page("plugins/testing.md"), "python")[0])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        env={**os.environ, "PYTHONPATH": installed},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_examples_of_plugins_are_accepted(make_app: MakeApp) -> None:
    """What the pages show as a plugin is one: it is given to the application, and nothing is refused."""
    shown = [blocks(page("plugins/index.md"), "python")[1], blocks(page("plugins/testing.md"), "python")[1]]
    for number, code in enumerate(shown):
        plugin = ModuleType(("tidy", "strict")[number])
        exec(code, vars(plugin))  # noqa: S102 - it is ours
        app = make_app(vars(plugin).get("strict", plugin))
        assert {found.name: found.state for found in current_host(app).all}[plugin.__name__] == "active"


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])  # plugins' migrations have tests of their own on both
def test_a_plugin_comes_and_goes(run: Run, installed: str, tmp_path: Path, empty_url: str) -> None:
    """Installed, a plugin's command and routes work, audited and guarded by scopes; uninstalled, nobody misses it."""
    assert "\nnotices: nothing -> notices001\n" in run("db", "upgrade", PYTHONPATH=installed)
    assert {"notices:*", "notices:read", "notices:write"} <= set(run("token", "scopes", PYTHONPATH=installed).split())
    assert run("notices", "post", "maintenance at noon", PYTHONPATH=installed) == "ok\n"
    with serve(tmp_path, YOQ_DATABASE_URL=empty_url, YOQ_API_TOKEN=ADMIN, PYTHONPATH=installed) as api:
        _works(api)
    assert run("db", "upgrade") == "the database is up to date\n"
    assert "maintenance at noon" in run("audit", "list")
    assert "notices:write" in run("token", "list")
    with serve(tmp_path, YOQ_DATABASE_URL=empty_url, YOQ_API_TOKEN=ADMIN) as api:
        _is_not_missed(api)
    assert "notices: notices001\n" in run("db", "current", PYTHONPATH=installed)


def _works(api: Served) -> None:
    made = api("POST", "/v1/tokens", json={"name": "ci", "scopes": ["notices:write"]})
    token = {"Authorization": f"Bearer {made.json()['token']}"}
    posted = api("POST", "/v1/notices", json={"text": "it is over"}, headers=token)
    assert (posted.status_code, posted.text) == (200, '{"status":"ok"}')
    listed = api("GET", "/v1/notices", headers=token)
    assert (listed.status_code, listed.json()) == (200, ["maintenance at noon", "it is over"])
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "x"}, headers=token).status_code == 403
    refused = api("POST", "/v1/notices", json={"text": "NUL \0"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid text")
    assert api("POST", "/v1/notices", json={}).json()["error"] == "missing text field"

    entry = api("GET", f"/v1/audit/entries/{posted.headers['Audit-Id']}").json()
    assert (entry["actor"], entry["action"]) == ("ci", "notices_post")
    assert (entry["target"], entry["outcome"]) == ("it is over", "ok")
    described = api("GET", "/openapi.json").json()["paths"]["/v1/notices"]
    assert (described["post"]["x-audited-as"], described["post"]["x-scope"]) == ("notices_post", "notices:write")
    assert (described["post"]["summary"], described["get"]["x-scope"]) == ("Post a notice", "notices:read")
    assert api("GET", "/health").json() == {"status": "ok"}


def _is_not_missed(api: Served) -> None:
    assert api("GET", "/health").json() == {"status": "ok"}
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "x"}).status_code == 200
    assert api("POST", "/v1/notices", json={"text": "anybody?"}).status_code == 404
    assert [entry["action"] for entry in api("GET", "/v1/audit").json()][-1] == "notices_post"
    assert api("GET", "/v1/tokens").json()[0]["scopes"] == ["notices:write"]
    assert "/v1/notices" not in api("GET", "/openapi.json").json()["paths"]
