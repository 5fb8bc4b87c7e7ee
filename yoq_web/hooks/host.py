"""PluginHost: finds plugins, registers or refuses them, and calls their hooks so that none harms another."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Literal

import pluggy
from flask import Flask
from structlog.stdlib import get_logger

from yoq_web.app_local import AppLocal, restore_context, save_context
from yoq_web.hooks.errors import HOOK_ERRORS, find_raised, isolate, read_text
from yoq_web.hooks.notifier import Notifier, report_hook_failure
from yoq_web.hooks.start_watch import StartWatch

log = get_logger("yoq_web")

hookspec = pluggy.HookspecMarker("yoq_web")
hookimpl = pluggy.HookimplMarker("yoq_web")
"""Marks a function of a plugin as the implementation of the hook whose name it bears."""

GROUP = "yoq_web.plugins"
"""The entry-point group; an entry point's name is the plugin's one word everywhere."""

OWN = "yoq-web"
"""The distribution of this project, which brings the built-in plugins."""

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class PluginError(Exception):
    """Why a plugin was refused."""


class RequiredPluginMissing(Exception):
    """A plugin that the application cannot do without is absent, blocked or refused."""


@dataclass
class Plugin:
    """One plugin as found: `state` says what became of it, `error` why it was refused."""

    name: str
    distribution: str
    state: Literal["active", "blocked", "refused"] = "active"
    error: str | None = None
    module: object = None


@dataclass(frozen=True)
class Implementation:
    """One plugin's implementation of one hook; called with keywords, it gets those that it names."""

    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def __call__(self, **given: object) -> Any:
        """Call the plugin's function, isolated. What the core keeps of a request is as before afterwards."""
        kept = save_context()
        try:
            with isolate():
                result = self.function(*[given[name] for name in self.arguments])
        finally:
            restore_context(kept)
        if result is not None and inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError("it returned an awaitable; hooks are plain functions")
        return result


class PluginHost:
    """The plugins of one application."""

    def __init__(
        self,
        app: Flask,
        hookspecs: ModuleType,
        *,
        required: Iterable[str],
        blocked: Iterable[str],
        refused: Mapping[str, str],
        check_name: Callable[[str], object],
        watch: StartWatch,
    ) -> None:
        """Take the hooks from `hookspecs`; load no plugin that is `blocked` or that `refused` names, with a reason.

        `check_name` raises PluginError for a name that no plugin may bear: it is asked before anything is imported.
        `watch` is told whose turn it is.
        """
        self.plugins: dict[str, Plugin] = {}
        self.duplicates: list[Plugin] = []
        self.required = tuple(required)
        self._blocked = frozenset(blocked)
        self._refused = refused
        self._check_foreign_name = check_name
        self._watch = watch
        self._manager = pluggy.PluginManager("yoq_web")
        self._hooks = [name for name in vars(hookspecs) if name.startswith("yoq_")]
        self._manager.add_hookspecs(hookspecs)
        self._implementations: dict[str, tuple[Implementation, ...]] = {}
        self._notifier = Notifier(app)

    def discover(self) -> None:
        """Load every installed plugin: the required ones first, then by name."""
        found = [(point, _read_distribution(point)) for point in entry_points(group=GROUP)]
        # Of two with one name the project's own comes first: nobody can take a required plugin's place by its name.
        found.sort(key=lambda of: (of[0].name not in self.required, of[0].name, of[1][0] != OWN, of[0].value))
        for point, distribution in found:
            self.add(point.name, point, " ".join(distribution))

    def add(self, name: str, source: object, distribution: str = "given") -> None:
        """Register the plugin `name`; `source` is the plugin object or the entry point that loads it."""
        if name in self.plugins:
            error = f"{self.plugins[name].distribution} has a plugin of the same name"
            self.duplicates.append(Plugin(name, distribution, "refused", error))
            log.error("plugin refused", plugin=name, distribution=distribution, error=error)
            return
        plugin = self.plugins[name] = Plugin(name, distribution)
        if name in self._blocked:
            plugin.state = "blocked"
        elif name in self._refused:
            self.refuse(name, PluginError(self._refused[name]))
        else:
            try:
                self._check_name(name)
                with self.take_turn(name, "import"):
                    plugin.module = source.load() if isinstance(source, EntryPoint) else source
                    self._register(plugin)
            except HOOK_ERRORS as error:
                self.refuse(name, error)
        if name in self.required and plugin.state != "active":
            raise RequiredPluginMissing(f"the plugin {name!r} is required and is {plugin.state}")

    @contextmanager
    def take_turn(self, plugin: str, doing: str) -> Iterator[None]:
        """Run a plugin's code at the start, isolated; it is told if that takes long."""
        with self._watch.take_turn(plugin, doing), isolate():
            yield

    def refuse(self, name: str, error: BaseException) -> None:
        """Take the plugin out: unregister it, keep the reason, log it. A required one stops start-up."""
        plugin = self.plugins[name]
        plugin.state = "refused"
        plugin.error = summarize_error(error)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        self._implementations.clear()
        log.error("plugin refused", plugin=name, distribution=plugin.distribution, error=plugin.error)
        if name in self.required:
            raise RequiredPluginMissing(f"the plugin {name!r} is required and was refused: {plugin.error}")

    def require(self) -> None:
        """Raise RequiredPluginMissing unless every required plugin is there."""
        for name in self.required:
            if name not in self.plugins:
                raise RequiredPluginMissing(f"the plugin {name!r} is required and is not installed")

    @property
    def all(self) -> list[Plugin]:
        """Every plugin that was found, whatever became of it."""
        return [*self.plugins.values(), *self.duplicates]

    @property
    def active(self) -> list[Plugin]:
        """The plugins in use, in load order."""
        return [plugin for plugin in self.plugins.values() if plugin.state == "active"]

    def find_implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Return a hook's implementations as pluggy orders calls: `tryfirst`, the last loaded first, `trylast`."""
        if hook not in self._implementations:
            found = reversed(getattr(self._manager.hook, hook).get_hookimpls())
            self._implementations[hook] = tuple(
                Implementation(found_in.plugin_name, found_in.function, tuple(found_in.argnames)) for found_in in found
            )
        return self._implementations[hook]

    def notify(self, hook: str, **given: object) -> None:
        """Tell every plugin; none can hold up, fail or silence anything else."""
        for implementation in self.find_implementations(hook):
            self.deliver(implementation.plugin, hook, functools.partial(implementation, **given))

    def deliver(self, plugin: str, what: str, call: Callable[[], object]) -> None:
        """Have something called on a plugin's own thread; `what` names it where it fails."""
        try:
            self._notifier.deliver(plugin, what, call)
        except HOOK_ERRORS as error:  # what it is about has ended; not even a thread that cannot start changes that
            report_hook_failure(plugin, what, error)

    def drain(self, seconds: float) -> None:
        """Wait until every notification is delivered, at most so long."""
        self._notifier.drain(seconds)

    def _check_name(self, name: str) -> None:
        if not NAME.fullmatch(name) or len(name) > 32:
            raise PluginError("a plugin's name is at most 32 lower-case letters, digits and single underscores")
        self._check_foreign_name(name)
        for other in self.plugins:
            if other != name and (name.startswith(f"{other}_") or other.startswith(f"{name}_")):
                raise PluginError(f"its tables and operations could not be told from those of the plugin {other!r}")

    def _register(self, plugin: Plugin) -> None:
        self._manager.register(plugin.module, plugin.name)
        callers = self._manager.get_hookcallers(plugin.module) or []
        for caller in callers:
            found = [one for one in caller.get_hookimpls() if one.plugin_name == plugin.name]
            if not caller.has_spec():
                raise PluginError(f"there is no hook {caller.name}")
            if len(found) > 1:
                raise PluginError(f"it implements {caller.name} twice")
            _check_implementation(caller.name, found[0])
        marked = {caller.name for caller in callers}
        for name in self._hooks:
            if name not in marked and inspect.isroutine(getattr(plugin.module, name, None)):
                raise PluginError(f"{name} is not marked with hookimpl")
        if not callers:
            raise PluginError("it implements no hook")
        self._implementations.clear()


current_host: AppLocal[PluginHost] = AppLocal("host")


def _check_implementation(hook: str, found: pluggy.HookImpl) -> None:
    """Raise PluginError unless a hook's implementation is a plain function that can be called as hooks are."""
    if inspect.iscoroutinefunction(found.function) or inspect.isasyncgenfunction(found.function):
        raise PluginError(f"{hook} is async; hooks are plain functions")
    if found.hookwrapper or found.wrapper:
        raise PluginError(f"{hook} is a wrapper; only plain implementations can be isolated")
    if inspect.isgeneratorfunction(found.function):
        raise PluginError(f"{hook} is a generator, whose body would never run; hooks are plain functions")
    try:
        inspect.signature(found.function).bind(*found.argnames)
    except TypeError as error:
        raise PluginError(f"{hook} cannot be called with ({', '.join(found.argnames)}): {error}") from error


def summarize_error(error: BaseException) -> str:
    """Write an error as one line, whatever its text is like."""
    error = find_raised(error)
    text = " ".join(read_text(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"


def _read_distribution(point: EntryPoint) -> tuple[str, str]:
    """Read name and version of the distribution that an entry point is from; a damaged one may have neither."""
    try:
        return (point.dist.name or "damaged", point.dist.version or "") if point.dist else ("unknown", "")
    except HOOK_ERRORS:
        return ("damaged", "")


def derive_name(plugin: object) -> str:
    """Derive a plugin object's name: its attribute `name`, else its own name without the prefix `yoq_`."""
    name = getattr(plugin, "name", None) or getattr(plugin, "__name__", type(plugin).__name__)
    return str(name).rpartition(".")[2].removeprefix("yoq_").lower()
