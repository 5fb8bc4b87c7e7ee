"""create_app(): the table of contents of start-up, one line a step."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from structlog.stdlib import get_logger

from yoq_web import (
    agents,
    apps,
    backup,
    hookspecs,
    logs,
    policies,
    problems,
    secrets,
    server,
    service,
    tokens,
    yoq_import,
)
from yoq_web.commands import db as db_commands
from yoq_web.commands import plugins as plugin_commands
from yoq_web.contributions.contribution import Contribution
from yoq_web.contributions.registry import Registry, current_registry, take_fingerprint
from yoq_web.database import data_dir, migrations, session
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import PluginHost, current_host, derive_name, summarize_error
from yoq_web.hooks.periodic import current_tasks
from yoq_web.hooks.start_watch import StartWatch
from yoq_web.http import guard
from yoq_web.http.answer_limits import current_answer_limits
from yoq_web.http.authentication import current_authenticators
from yoq_web.http.endpoints import MAX_BODY
from yoq_web.http.guard import current_public_routes
from yoq_web.http.rules import QuickRule
from yoq_web.jsontext import CompactProvider
from yoq_web.operations.operation import current_operations
from yoq_web.scopes import current_vocabulary
from yoq_web.settings import REQUIRED_PLUGINS, Settings, current_settings

log = get_logger("yoq_web")


def contribute_core() -> Contribution:
    """Return the commands and settings that belong to no domain."""
    return Contribution(
        commands=(plugin_commands.group, db_commands.group, server.serve_command), settings=logs.SETTINGS
    )


DOMAINS: dict[str, Callable[[], Contribution]] = {
    "core": contribute_core,
    "secrets": secrets.contribute,
    "policies": policies.contribute,
    "tokens": tokens.contribute,
    "agents": agents.contribute,
    "apps": apps.contribute,
    "backup": backup.contribute,
    "yoq_import": yoq_import.contribute,
    "service": service.contribute,
}
"""The core's own domains: what each contributes has the same shape as a plugin's."""

CHANGED_APP = "it changed the application itself; what a plugin adds is data that yoq_contribute returns"


def create_app(config: Mapping[str, Any] | None = None, plugins: Iterable[object] = ()) -> Flask:
    """Build the application, and make its data directory.

    `config` holds settings under their YOQ_* names, which win over the environment, and Flask's own. `plugins` are
    plugin objects beside the installed ones. Raises SettingsError or RequiredPluginMissing if it cannot be built; any
    other plugin that fails is refused, logged and listed, and the application is built without it.
    """
    settings = Settings.load(config or {})
    logs.configure(settings)
    data_dir.make_files(settings)
    return build_app(settings, config or {}, plugins)


def build_app(settings: Settings, config: Mapping[str, Any], plugins: Iterable[object] = ()) -> Flask:
    """Build the application from these settings, as create_app() does, without touching the disk."""
    logs.configure(settings)
    given = tuple(plugins)
    refused: dict[str, str] = {}
    with StartWatch() as watch:
        while True:
            app, failed = _build(settings, config, given, refused, watch)
            failed = failed or _announce_ready(app)
            if not failed:
                _warn_of_settings(app)
                return app
            with app.app_context():
                session.db.engine.dispose()
            refused |= failed


def _warn_of_settings(app: Flask) -> None:
    """Tell of settings that have no effect: once, not again in each of a server's workers."""
    if multiprocessing.parent_process() is None:
        registry = current_registry(app)
        added = registry.contributions
        plugins = {name: name in added and bool(added[name].settings) for name in current_host(app).plugins}
        for mistake in current_settings(app).list_mistakes(registry.settings, plugins):
            log.warning("a setting has no effect", reason=mistake)


def _build(
    settings: Settings,
    config: Mapping[str, Any],
    plugins: tuple[object, ...],
    refused: dict[str, str],
    watch: StartWatch,
) -> tuple[Flask, dict[str, str]]:
    """Build an application; also return the plugins that spoilt it, with the reason: it must be built without them."""
    app = _make_flask(config)
    registry = Registry()
    host = PluginHost(
        app,
        hookspecs,
        required=REQUIRED_PLUGINS,
        blocked=settings.blocked_plugins,
        refused=refused,
        check_name=registry.check_owner,
        watch=watch,
    )
    current_settings.put(app, settings)
    current_host.put(app, host)
    current_registry.put(app, registry)
    current_operations.put(app, registry.operations)
    current_vocabulary.put(app, registry.vocabulary)
    current_public_routes.put(app, registry.public_routes)
    session.init_app(app, settings)
    migrations.init_app(app)
    problems.init_app(app)
    with app.app_context():
        for name, contribute in DOMAINS.items():
            registry.add(name, contribute(), core=True)
        host.discover()
        for plugin in plugins:
            host.add(derive_name(plugin), plugin)
        host.require()
        failed = _collect(app, host, registry) or _mount(app, host, registry)
    for setting in registry.settings if settings.error is None else ():
        settings[setting]  # one of no use stops the start, as any other
    guard.init_app(app)
    return app, failed


def _make_flask(config: Mapping[str, Any]) -> Flask:
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
        before = _take_fingerprint(app)
        try:
            with host.take_turn(plugin.name, "yoq_contribute"):
                contributions = [
                    ask(app=app) for ask in host.find_implementations("yoq_contribute") if ask.plugin == plugin.name
                ]
                registry.add(plugin.name, contributions[0] if contributions else Contribution())
        except HOOK_ERRORS as error:
            host.refuse(plugin.name, error)
        if _take_fingerprint(app) != before:
            failed[plugin.name] = CHANGED_APP
    return failed


def _mount(app: Flask, host: PluginHost, registry: Registry) -> dict[str, str]:
    """Mount what was contributed; returns the plugins whose blueprints cannot be mounted after all."""
    failed: dict[str, str] = {}
    for owner, contribution in registry.contributions.items():
        try:
            with host.take_turn(owner, "mount"):
                for blueprint in contribution.blueprints:
                    app.register_blueprint(blueprint)
                for command in contribution.commands:
                    app.cli.add_command(command)
        except HOOK_ERRORS as error:
            if owner not in host.plugins:
                raise
            failed[owner] = summarize_error(error)
        if contribution.migrations is not None:
            migrations.current_lineages(app).append(migrations.Lineage(owner, Path(contribution.migrations)))
        current_tasks(app).extend((owner, task) for task in contribution.periodic)
        current_answer_limits(app).extend((owner, limit) for limit in contribution.answer_limits)
    # Plugins' authenticators are asked before the core's, so that one of them can reject a token that is still good.
    for owner in (*host.plugins, *DOMAINS):
        for authenticator in registry.list_authenticators(owner):
            current_authenticators(app).append((owner, authenticator))
    return failed


def _take_fingerprint(app: Flask) -> tuple[object, ...]:
    """Take down what only contributions may change."""
    return (tuple(app.url_map.iter_rules()), dict(app.view_functions), tuple(app.blueprints), take_fingerprint(app))


def _announce_ready(app: Flask) -> dict[str, str]:
    """Tell every plugin that the app is ready; returns those that failed, with the reason."""
    host = current_host(app)
    failed: dict[str, str] = {}
    with app.app_context():
        for tell in host.find_implementations("yoq_ready"):
            before = _take_fingerprint(app)
            try:
                with host.take_turn(tell.plugin, "yoq_ready"):
                    tell(app=app)
            except HOOK_ERRORS as error:
                failed[tell.plugin] = f"yoq_ready raised {summarize_error(error)}"
            else:
                if _take_fingerprint(app) != before:
                    failed[tell.plugin] = CHANGED_APP
    return failed
