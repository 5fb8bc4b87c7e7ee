"""create_app(): the table of contents of start-up, one line a step."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web import agents, apps, backup, files, logs, policies, problems, secrets, server, service, tokens
from yoq_web.backup.commands import restore_command
from yoq_web.commands import db, plugins
from yoq_web.contributions.registry import Contribution, Registry, reach
from yoq_web.database import migrations, session
from yoq_web.hooks.host import PluginHost, described, plugin_name
from yoq_web.hooks.notifier import HOOK_ERRORS
from yoq_web.http import guard
from yoq_web.http.endpoints import MAX_BODY
from yoq_web.http.login_throttle import Attempts
from yoq_web.http.rules import QuickRule
from yoq_web.jsontext import CompactProvider
from yoq_web.metrics import Metrics
from yoq_web.operations import replay
from yoq_web.operations.intents import Intents
from yoq_web.operations.spool import Spool
from yoq_web.settings import REQUIRED_PLUGINS, Settings
from yoq_web.state import State, state_of

log = get_logger("yoq_web")

DOMAINS = {
    "secrets": secrets,
    "policies": policies,
    "tokens": tokens,
    "agents": agents,
    "apps": apps,
    "backup": backup,
    "service": service,
}
"""The core's own domains; each has a contribution of the same shape as a plugin's, and may have a `pulse()`."""

CHANGED_APP = "it changed the application itself; what a plugin adds is data that yoq_contribute returns"


def create_app(config: Mapping[str, Any] | None = None, plugins: Iterable[object] = ()) -> Flask:
    """Build the application.

    `config` holds settings under their YOQ_* names, which win over the environment, and Flask's own. `plugins` are
    plugin objects beside the installed ones. Raises SettingsError or RequiredPluginMissing if it cannot be built; any
    other plugin that fails is refused, logged and listed, and the application is built without it.
    """
    given = tuple(plugins)
    refused: dict[str, str] = {}
    while True:
        app, failed = _build(config or {}, given, refused)
        failed = failed or _ready(app)
        if not failed:
            _warn(app)
            return app
        with app.app_context():
            session.db.engine.dispose()
        refused |= failed


def _warn(app: Flask) -> None:
    """Tell of settings that have no effect: once, not again in each of a server's workers."""
    here = state_of(app)
    if multiprocessing.parent_process() is None:
        for mistake in here.settings.mistaken(here.plugins.plugins):
            log.warning("a setting has no effect", reason=mistake)


def _build(
    config: Mapping[str, Any], plugins: tuple[object, ...], refused: dict[str, str]
) -> tuple[Flask, dict[str, str]]:
    """An application, and the plugins that spoilt it, with the reason: it must be built again without them."""
    logs.configure()
    settings = Settings.load(config)
    files.make_data_dir(settings.data_dir)
    app = _flask(config)
    host = PluginHost(app, REQUIRED_PLUGINS, settings.blocked_plugins, refused)
    registry = Registry()
    app.extensions["yoq"] = State(
        settings=settings,
        metrics=Metrics(),
        attempts=Attempts(),
        plugins=host,
        registry=registry,
        spool=Spool(settings.data_dir),
        intents=Intents(settings.data_dir),
        recover=replay.replay,
        pulses={name: domain.pulse for name, domain in DOMAINS.items() if hasattr(domain, "pulse")},
    )
    session.init_app(app, settings)
    migrations.init_app(app)
    problems.init_app(app)
    with app.app_context():
        for name, domain in DOMAINS.items():
            registry.add(name, domain.contribution(), core=True)
        host.discover()
        for plugin in plugins:
            host.add(plugin_name(plugin), plugin)
        host.require()
        failed = _collect(app, host, registry) or _mount(app, host, registry)
    guard.init_app(app)
    return app, failed


def _flask(config: Mapping[str, Any]) -> Flask:
    app = Flask("yoq_web", static_folder=None)
    app.config.from_mapping({name: value for name, value in config.items() if not name.startswith("YOQ_")})
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json = CompactProvider(app)
    app.url_rule_class = QuickRule
    # yoq takes paths as they are: no redirect from //health to /health.
    app.url_map.merge_slashes = False
    return app


def _collect(app: Flask, host: PluginHost, registry: Registry) -> dict[str, str]:
    """Ask each plugin what it adds and refuse those that clash, before anything is mounted.

    Returns those that changed the app by themselves, with the reason.
    """
    failed: dict[str, str] = {}
    for plugin in host.active:
        before = _shape(app)
        try:
            contributions = [
                ask(app=app) for ask in host.implementations("yoq_contribute") if ask.plugin == plugin.name
            ]
            registry.add(plugin.name, contributions[0] if contributions else Contribution())
        except HOOK_ERRORS as error:
            host.refuse(plugin.name, error)
        if _shape(app) != before:
            failed[plugin.name] = CHANGED_APP
    return failed


def _mount(app: Flask, host: PluginHost, registry: Registry) -> dict[str, str]:
    """Mount what was contributed; returns the plugins whose blueprints cannot be mounted after all."""
    failed: dict[str, str] = {}
    for command in (plugins.group, db.group, server.serve_command, restore_command):
        app.cli.add_command(command)
    for owner, contribution in registry.contributions.items():
        try:
            for blueprint in contribution.blueprints:
                app.register_blueprint(blueprint)
            for group in contribution.commands:
                app.cli.add_command(group)
        except HOOK_ERRORS as error:
            if owner not in host.plugins:
                raise
            failed[owner] = described(error)
    return failed


def _shape(app: Flask) -> tuple[object, ...]:
    """What only contributions may change."""
    return (tuple(app.url_map.iter_rules()), dict(app.view_functions), tuple(app.blueprints), reach(app))


def _ready(app: Flask) -> dict[str, str]:
    """Tell every plugin that the app is ready; returns those that failed, with the reason."""
    host = state_of(app).plugins
    failed: dict[str, str] = {}
    with app.app_context():
        for tell in host.implementations("yoq_ready"):
            before = _shape(app)
            try:
                tell(app=app)
            except HOOK_ERRORS as error:
                failed[tell.plugin] = f"yoq_ready raised {described(error)}"
            else:
                if _shape(app) != before:
                    failed[tell.plugin] = CHANGED_APP
    return failed
