"""The hooks: each one is documented, has tests of its own, is called when it should be and fails as it should."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Request

from tests.conftest import Api, MakeApp
from tests.support.hooks import SECRET, raising, set_secret, wrong
from tests.support.pages import page
from tests.support.plugins import Made, noting, plugins_of, refused
from yoq_web import Actor, Contribution, Event, Rejected, hookspecs
from yoq_web.hooks.host import RequiredPluginMissing
from yoq_web.settings import current_settings

SPECS = [node for node in ast.parse(Path(hookspecs.__file__).read_text()).body if isinstance(node, ast.FunctionDef)]
HOOKS = [spec.name for spec in SPECS]
TESTS = [
    name
    for file in Path(__file__).parent.glob("test_*.py")
    for name in re.findall(r"(?m)^def (test_\w+)", file.read_text())
]


@pytest.mark.parametrize("spec", SPECS, ids=HOOKS)
def test_each_hook_is_documented(spec: ast.FunctionDef) -> None:
    """The page of hooks has each with its exact signature."""
    assert spec.returns is not None
    assert f"def {spec.name}({ast.unparse(spec.args)}) -> {ast.unparse(spec.returns)}" in page("plugins/hooks.md")


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_test(hook: str) -> None:
    """For each hook there is a test of its failures, and one of what it is for."""
    own = [name for name in TESTS if name.startswith(f"test_{hook}_")]
    assert f"test_{hook}_that_raises" in own
    assert len(own) >= 2


def test_the_page_lists_the_hooks_in_life_cycle_order() -> None:
    """The documented order is that of the specifications."""
    text = page("plugins/hooks.md")
    places = [text.index(f"def {hook}(") for hook in HOOKS]
    assert places == sorted(places)


def test_yoq_contribute_is_given_the_app(make_app: MakeApp) -> None:
    """The plugin is asked once, and sees the application that it will be part of."""
    asked: list[Flask] = []

    def contribute(app: Flask) -> Contribution:
        asked.append(app)
        return Contribution()

    assert asked == [make_app(Made("asked", yoq_contribute=contribute))]


@wrong
@pytest.mark.parametrize("hook", ["yoq_contribute", "yoq_ready"])
def test_a_required_plugin_that_raises_at_start_up(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, hook: str, error: BaseException
) -> None:
    """It stops start-up, with its name and the reason."""
    monkeypatch.setattr("yoq_web.app.REQUIRED_PLUGINS", ("audit", "needed"))
    with pytest.raises(RequiredPluginMissing, match="'needed' is required and was refused: .*" + type(error).__name__):
        make_app(Made("needed", **{hook: raising(error)}))


@wrong
def test_yoq_contribute_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The plugin is refused whole: its other hooks are not called either."""
    told_of: list[Event] = []
    app = make_app(Made("bad", yoq_contribute=raising(error), yoq_before_operation=noting(told_of)))
    assert type(error).__name__ in (refused(app)["bad"] or "")
    assert set_secret(Api(app)) == 200
    assert told_of == []


def test_yoq_ready_finds_everything_mounted(make_app: MakeApp) -> None:
    """Called when every route is there, the trail's among them."""
    rules: list[str] = []
    app = make_app(Made("last", yoq_ready=lambda app: rules.extend(rule.rule for rule in app.url_map.iter_rules())))
    assert {"/v1/secrets", "/v1/audit"} <= set(rules)
    assert plugins_of(app)["last"].state == "active"


@wrong
def test_yoq_ready_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The plugin is refused whole: its other hooks are not called either."""
    told_of: list[Event] = []
    app = make_app(Made("bad", yoq_ready=raising(error), yoq_before_operation=noting(told_of)))
    assert type(error).__name__ in (refused(app)["bad"] or "")
    assert set_secret(Api(app)) == 200
    assert told_of == []


def by_header(request: Request) -> Actor | None:
    """Authenticate whoever says so."""
    name = request.headers.get("X-Who")
    return Actor("token", name, ("secrets:read",)) if name else None


def test_yoq_authenticate_says_who_it_is(make_app: MakeApp) -> None:
    """The first actor wins and acts under its label and scopes; None leaves the request to yoq-web's own tokens."""
    api = Api(make_app(Made("who", yoq_authenticate=by_header)))
    assert api.with_token(None)("GET", "/v1/secrets", headers={"X-Who": "ann"}).status_code == 200
    assert api("POST", "/v1/secrets", json=SECRET, headers={"X-Who": "ann"}).status_code == 403
    assert set_secret(api) == 200
    assert [(entry["actor"], entry["outcome"]) for entry in api.entries()] == [
        ("api-token", "ok"),
        ("ann", "denied"),
        ("ann", "ok"),
    ]


def test_yoq_authenticate_rejects(make_app: MakeApp) -> None:
    """After Rejected nobody else is asked: even the administrator's token does not help."""
    api = Api(make_app(Made("who", yoq_authenticate=raising(Rejected()))))
    assert set_secret(api) == 401


@wrong
def test_yoq_authenticate_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """It lets nobody in, with or without a token."""
    api = Api(make_app(Made("who", yoq_authenticate=raising(error))))
    assert set_secret(api) == 503
    answer = api.with_token(None)("GET", "/v1/secrets")
    assert answer.status_code == 503
    assert "hunter2" not in answer.text


def wrap_key(key: bytes) -> bytes:
    """Wrap as badly as can be told apart from not at all."""
    return key[::-1]


def unwrap_key(wrapped: bytes) -> bytes:
    """Unwrap what wrap_key() wrapped."""
    return wrapped[::-1]


def test_yoq_wrap_key_wraps_the_data_key(make_app: MakeApp) -> None:
    """The first bytes win and no key file is made; a plugin that returns None leaves it to the others."""
    kms = Made("kms", yoq_wrap_key=wrap_key, yoq_unwrap_key=unwrap_key)
    app = make_app(kms, Made("none", yoq_wrap_key=lambda: None))
    assert set_secret(Api(app)) == 200
    assert not (current_settings(app).data_dir / "secrets.key").exists()


@wrong
def test_yoq_wrap_key_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The operation fails and is recorded; no other master key takes the place of the one that is broken."""
    app = make_app(Made("kms", yoq_wrap_key=raising(error)))
    assert set_secret(Api(app)) == 503
    assert Api(app).entries(1)[0]["reason"] == "the master key cannot be used"
    assert not (current_settings(app).data_dir / "secrets.key").exists()


def test_yoq_unwrap_key_is_asked_of_who_wrapped(make_app: MakeApp) -> None:
    """A process that has just started asks the plugin that wrapped the key, and no other; without it nothing goes."""
    kms = Made("kms", yoq_wrap_key=wrap_key, yoq_unwrap_key=unwrap_key)
    assert set_secret(Api(make_app(kms))) == 200
    assert set_secret(Api(make_app(kms, Made("other", yoq_unwrap_key=raising(RuntimeError()))))) == 200
    assert set_secret(Api(make_app(Made("other", yoq_unwrap_key=unwrap_key)))) == 500


@wrong
def test_yoq_unwrap_key_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The operation fails; what is stored stays as it is, and opens when the plugin works again."""
    kms = Made("kms", yoq_wrap_key=wrap_key, yoq_unwrap_key=unwrap_key)
    assert set_secret(Api(make_app(kms))) == 200
    broken = Made("kms", yoq_wrap_key=wrap_key, yoq_unwrap_key=raising(error))
    assert set_secret(Api(make_app(broken))) == 503
    assert set_secret(Api(make_app(kms))) == 200


def described(app: Flask) -> Any:
    """How the trail describes the administrator."""
    api = Api(app)
    assert set_secret(api) == 200
    return api.entries()[0].get("actor_description")


def test_yoq_pulse_comes_at_the_end_of_a_command_that_did_something(make_app: MakeApp) -> None:
    """What is due after an operation is done when its command ends; a command that only reads has no such end."""
    pulses: list[Flask] = []

    def beat(app: Flask) -> None:
        pulses.append(app)

    app = make_app(Made("heart", yoq_pulse=beat))
    for arguments, beats in ((["policy", "list"], 0), (["policy", "deny", "a", "b"], 1)):
        assert app.test_cli_runner().invoke(args=arguments).exit_code == 0
        assert pulses == [app] * beats


@wrong
def test_yoq_pulse_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """The command has done its work all the same."""
    app = make_app(Made("bad", yoq_pulse=raising(error)))
    assert app.test_cli_runner().invoke(args=["policy", "deny", "a", "b"]).exit_code == 0


def test_yoq_health_is_shown(make_app: MakeApp) -> None:
    """What a plugin says is in /health beside its name; silence changes nothing."""
    silent = Made("silent", yoq_health=lambda: None)
    assert Api(make_app(silent))("GET", "/health").json == {"status": "ok"}
    app = make_app(silent, Made("worried", yoq_health=lambda: "the disk is old"))
    assert Api(app)("GET", "/health").json == {"status": "degraded", "plugins": {"worried": "the disk is old"}}


@wrong
def test_yoq_health_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """It is told, and /health answers."""
    answer = Api(make_app(Made("bad", yoq_health=raising(error))))("GET", "/health")
    assert (answer.status_code, answer.json) == (
        200,
        {"status": "degraded", "plugins": {"bad": "it cannot say how it is"}},
    )


def test_yoq_describe_actor_says_more(make_app: MakeApp) -> None:
    """The first description wins and is shown beside the label."""
    silent = Made("silent", yoq_describe_actor=lambda actor: None)
    directory = Made("directory", yoq_describe_actor=lambda actor: f"the holder of {actor.label}")
    assert described(make_app(directory, silent)) == "the holder of api-token"


@wrong
def test_yoq_describe_actor_that_raises(make_app: MakeApp, error: BaseException) -> None:
    """It is passed over: the next plugin is asked, and without one the label stands alone."""
    bad = Made("bad", yoq_describe_actor=raising(error))
    assert described(make_app(bad)) is None
    assert described(make_app(Made("good", yoq_describe_actor=lambda actor: "known"), bad)) == "known"
