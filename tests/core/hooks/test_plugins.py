"""How plugins are found, in what order they are loaded, and which are refused."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from sqlalchemy.exc import InvalidRequestError

from tests.conftest import Api, MakeApp
from tests.support.plugins import HARMLESS, contributing, distribution, metadata, plugins_of, refused
from yoq_web.hooks.host import RequiredPluginMissing, current_host
from yoq_web.settings import REQUIRED_PLUGINS

ROOT = Path(__file__).parents[3]
ONE = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path to install distributions into; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@ONE
def test_installed_plugins_are_loaded_by_name_the_required_first(make_app: MakeApp, site: Path) -> None:
    """Whatever order they were installed in, and whichever distribution they are from."""
    distribution(site, "zz_dist", HARMLESS, alpha="zz_dist")
    distribution(site, "aa_dist", HARMLESS, omega="aa_dist")
    found = plugins_of(make_app())
    assert list(found) == ["audit", "alpha", "omega", "wire"]
    assert [found[name].distribution for name in ("alpha", "omega")] == ["zz_dist 1.0", "aa_dist 1.0"]
    assert {plugin.state for plugin in found.values()} == {"active"}


@ONE
def test_a_blocked_plugin_is_not_even_imported(make_app: MakeApp, site: Path) -> None:
    """The block list is looked at first; the plugin is listed as blocked, and nothing is degraded."""
    distribution(site, "boom", "raise SystemExit('imported')")
    app = make_app(YOQ_BLOCKED_PLUGINS="other, boom")
    assert plugins_of(app)["boom"].state == "blocked"
    assert "boom" not in sys.modules
    assert Api(app)("GET", "/health").json == {"status": "ok"}


@ONE
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('a\\nb')", "RuntimeError: a b"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("class Dumb(Exception):\n    def __str__(self): raise OSError\nraise Dumb", "Dumb: an error that cannot say"),
        ("raise ValueError('\\ud800')", "ValueError: ?"),
    ],
)
def test_a_plugin_that_fails_to_import(make_app: MakeApp, site: Path, source: str, reason: str) -> None:
    """It is refused and listed with the reason on one line; those after it are loaded."""
    distribution(site, "boom", source)
    distribution(site, "harmless", HARMLESS)
    app = make_app()
    assert list(refused(app)) == ["boom"]
    assert (refused(app)["boom"] or "").startswith(reason)
    assert plugins_of(app)["harmless"].state == "active"
    assert Api(app)("GET", "/health").json == {"status": "degraded", "plugins_refused": ["boom"]}


@ONE
@pytest.mark.parametrize("value", ["nowhere_to_be_found", "harmless:nothing", "not a module", "harmless:"])
def test_an_entry_point_that_leads_nowhere(make_app: MakeApp, site: Path, value: str) -> None:
    """It is refused and listed."""
    distribution(site, "harmless", HARMLESS, harmless="harmless")
    metadata(site, "astray", {"astray": value})
    app = make_app()
    found = plugins_of(app)
    assert found["harmless"].state == "active"
    # "harmless:" is the module itself, which is registered already.
    assert found["astray"].state == "refused"


@ONE
def test_a_damaged_distribution(make_app: MakeApp, site: Path) -> None:
    """What an interrupted installation left behind does not stop start-up."""
    distribution(site, "damaged", HARMLESS)
    (site / "damaged-1.0.dist-info" / "METADATA").unlink()
    assert list(plugins_of(make_app())) == ["audit", "damaged", "wire"]


@ONE
def test_two_plugins_of_one_name(make_app: MakeApp, site: Path) -> None:
    """The first is used, the second refused and listed; the first is always the same one."""
    distribution(site, "one", HARMLESS, same="one")
    distribution(site, "two", HARMLESS, same="two")
    app = make_app()
    assert plugins_of(app)["same"].distribution == "one 1.0"
    assert refused(app) == {"same": "one 1.0 has a plugin of the same name"}
    assert Api(app)("GET", "/health").json == {"status": "degraded", "plugins_refused": ["same"]}


@ONE
def test_nobody_takes_the_place_of_the_audit_plugin(make_app: MakeApp, site: Path) -> None:
    """A stranger's plugin of that name is refused, however it sorts, and operations are recorded."""
    distribution(site, "aaa", HARMLESS, audit="aaa")
    app = make_app(contributing("audit"))
    assert plugins_of(app)["audit"].distribution.startswith("yoq-web ")
    assert [plugin.distribution for plugin in current_host(app).duplicates] == ["aaa 1.0", "given"]
    api = Api(app)
    assert api("GET", "/v1/secrets").status_code == 200
    assert [entry["action"] for entry in api.entries()] == ["secret_list"]


@ONE
@pytest.mark.parametrize(
    "name", ["", "Notes", "no-tes", "1notes", "_notes", "notes_", "no__tes", "n" * 33, "nötes", "a b"]
)
def test_a_bad_name(make_app: MakeApp, name: str) -> None:
    """A name that cannot be a table's prefix, a scope and a command at once is refused."""
    plugin = contributing(name)
    host = current_host(make_app())
    host.add(name, plugin)
    assert "a plugin's name is" in (host.plugins[name].error or "")


@ONE
@pytest.mark.parametrize(("first", "second"), [("notes", "notes_more"), ("notes_more", "notes"), ("audit", "audit_x")])
def test_names_of_which_one_begins_with_the_other(make_app: MakeApp, first: str, second: str) -> None:
    """Their tables and operations could not be told apart: the second one is refused."""
    plugins = [contributing(name) for name in (first, second) if name != "audit"]
    app = make_app(*plugins)
    assert list(refused(app)) == [second]
    assert repr(first) in (refused(app)[second] or "")


@ONE
def test_the_same_plugin_under_two_names(make_app: MakeApp) -> None:
    """The second name is refused."""
    host = current_host(make_app())
    plugin = contributing("one")
    host.add("one", plugin)
    host.add("two", plugin)
    assert [host.plugins[name].state for name in ("one", "two")] == ["active", "refused"]


@ONE
def test_a_required_plugin_is_missing(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start-up stops and says which."""
    monkeypatch.setattr("yoq_web.app.REQUIRED_PLUGINS", ("audit", "ledger"))
    with pytest.raises(RequiredPluginMissing, match="'ledger' is required and is not installed"):
        make_app()


@ONE
def test_a_required_plugin_is_blocked(make_app: MakeApp) -> None:
    """Nobody runs an unaudited server by setting a variable."""
    with pytest.raises(RequiredPluginMissing, match="'audit' is required and is blocked"):
        make_app(YOQ_BLOCKED_PLUGINS="audit")


@ONE
def test_a_required_plugin_is_refused(make_app: MakeApp, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start-up stops and says why."""
    monkeypatch.setattr("yoq_web.app.REQUIRED_PLUGINS", ("audit", "ledger"))
    distribution(site, "ledger", "raise OSError('no paper')")
    with pytest.raises(RequiredPluginMissing, match="'ledger' is required and was refused: OSError: no paper"):
        make_app()


ASTRAY = (
    HARMLESS
    + """
from sqlalchemy.orm import Mapped, mapped_column, relationship


class Note(yoq_web.Model):
    __tablename__ = "astray_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[object] = relationship("Nowhere")
"""
)


@ONE
def test_a_model_that_cannot_be_configured(make_app: MakeApp, site: Path) -> None:
    """A plugin's model that refers to nothing fails when the plugin uses it; every other model works."""
    distribution(site, "astray", ASTRAY)
    app = make_app()
    with pytest.raises(InvalidRequestError, match="Nowhere"):
        plugins_of(app)["astray"].module.Note()  # type: ignore[attr-defined]
    api = Api(app)
    assert api("POST", "/v1/secrets", json={"name": "db", "value": "v"}).status_code == 200
    assert api("DELETE", "/v1/tokens/none").status_code == 404
    assert [entry["action"] for entry in api.entries()] == ["secret_set"]


def test_the_installed_entry_points_are_those_declared() -> None:
    """What pyproject.toml declares is what is installed, and every required plugin is among it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["yoq_web.plugins"]
    installed = {
        point.name: point.value
        for point in entry_points(group="yoq_web.plugins")
        if point.dist and point.dist.name == "yoq-web"
    }
    assert installed == declared
    assert set(REQUIRED_PLUGINS) <= set(declared)


def test_the_core_names_no_plugin() -> None:
    """No module of the core imports a plugin or says its name; only the setting of what is required may."""
    packages = {folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "__init__.py").exists()}
    assert "yoq_audit" in packages
    names = packages | {package.removeprefix("yoq_") for package in packages}
    said = []
    for file in sorted((ROOT / "yoq_web").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
                said.append((file.name, node.value))
            said += [(file.name, module) for module in imported if module.partition(".")[0] in packages]
    assert said == [("settings.py", "audit")]
    assert REQUIRED_PLUGINS == ("audit",)
