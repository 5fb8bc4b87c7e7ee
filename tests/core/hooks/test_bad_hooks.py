"""Implementations of hooks that could not be called, isolated or trusted to run: they refuse their plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import Api, MakeApp
from tests.support.plugins import Made, contributing, plugins_of, refused
from yoq_web import Event, hookimpl, hookspecs
from yoq_web.hooks.host import current_host

ONE = pytest.mark.parametrize("backend", ["sqlite"])


async def coroutine(event: Event) -> None:
    """An implementation that nobody would await."""


async def stream(event: Event) -> AsyncIterator[None]:
    """An implementation that nobody would await."""
    yield


def generator(event: Event) -> Iterator[None]:
    """An implementation whose body would never run."""
    yield


def keyword_only(*, event: Event) -> None:
    """An implementation that cannot be called as hooks are."""


def misspelt(evnet: Event) -> None:
    """An implementation that wants what there is not."""


def marked(function: Callable[..., Any], **options: Any) -> object:
    """A plugin with one implementation of yoq_before_operation, marked with these options."""
    plugin = ModuleType("bad")
    plugin.yoq_before_operation = hookimpl(**options)(function)  # type: ignore[attr-defined]
    return plugin


def unmarked() -> object:
    """A plugin that forgot to mark one of its two hooks."""
    plugin = contributing("bad")
    plugin.yoq_before_operation = lambda event: None  # type: ignore[attr-defined]
    return plugin


class Number(int):
    """A plugin that is none."""

    name = "bad"


class Exploding:
    """A plugin that cannot even be looked at."""

    name = "bad"

    @property
    def yoq_ready(self) -> None:
        """Raise."""
        raise OSError("do not look")


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "async": (lambda: marked(coroutine), "is async"),
    "async generator": (lambda: marked(stream), "is async"),
    "generator": (lambda: marked(generator), "is a generator"),
    "wrapper": (lambda: marked(generator, wrapper=True), "is a wrapper"),
    "old wrapper": (lambda: marked(generator, hookwrapper=True), "is a wrapper"),
    "keyword only": (lambda: marked(keyword_only), "cannot be called"),
    "misspelt argument": (lambda: marked(misspelt), "evnet"),
    "misspelt hook": (lambda: Made("bad", yoq_befor_operation=lambda event: None), "no hook yoq_befor_operation"),
    "optional hook": (lambda: marked(misspelt, specname="yoq_other", optionalhook=True), "no hook yoq_other"),
    "name of the hooks' module": (lambda: Made("bad", Veto=lambda: None), "no hook Veto"),
    "one hook twice": (
        lambda: Made("bad", yoq_ready=lambda: None, other=hookimpl(specname="yoq_ready")(lambda: None)),
        "no hook other",
    ),
    "unmarked": (unmarked, "yoq_before_operation is not marked"),
    "no hooks": (lambda: Made("bad"), "no hook"),
    "a class": (lambda: type("bad", (), {"yoq_ready": hookimpl(lambda self, app: None)}), "self"),
    "a number": (lambda: Number(5), "no hook"),
    "exploding": (Exploding, "OSError"),
}


@ONE
@pytest.mark.parametrize("case", BAD)
def test_a_plugin_with_bad_hooks(make_app: MakeApp, case: str) -> None:
    """An implementation that could not be called, isolated or trusted to run refuses its plugin."""
    make, reason = BAD[case]
    app = make_app(make(), contributing("good"))
    assert list(refused(app)) == ["bad"]
    assert reason in (refused(app)["bad"] or "")
    host = current_host(app)
    hooks = [hook for hook in vars(hookspecs) if hook.startswith("yoq_")]
    assert not [one for hook in hooks for one in host.find_implementations(hook) if one.plugin == "bad"]
    assert plugins_of(app)["good"].state == "active"
    assert Api(app)("POST", "/v1/secrets", json={"name": "a", "value": "b"}).status_code == 200


@ONE
def test_a_plugin_whose_hook_gives_out_a_coroutine(make_app: MakeApp) -> None:
    """An async veto in disguise refuses the operation: it must not pass for consent."""

    def before(event: Event) -> Any:
        return coroutine(event)

    app = make_app(Made("disguised", yoq_before_operation=before))
    assert Api(app)("POST", "/v1/secrets", json={"name": "a", "value": "b"}).status_code == 403
