"""Registry: everything that was contributed, each contribution checked for clashes before anything is mounted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from flask import Blueprint, Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect, Rule

from yoq_web.app_local import AppLocal
from yoq_web.commands.command import Command, CommandGroup
from yoq_web.contributions.contribution import Contribution
from yoq_web.contributions.gauge import Gauge
from yoq_web.contributions.keeper import Keeper
from yoq_web.database.migrations import Lineage, list_revisions
from yoq_web.hooks.errors import HOOK_ERRORS, isolate
from yoq_web.hooks.host import PluginError, summarize_error
from yoq_web.http.authentication import Authenticator
from yoq_web.http.endpoints import READING, Declaration, find_declaration
from yoq_web.http.rules import QuickRule
from yoq_web.operations.operation import Operation
from yoq_web.scopes import JOINING, RESOURCES, Vocabulary, is_scope
from yoq_web.settings import TABLE, Setting

RESERVED = ("agent", "alembic", "app", "backup", "backups", "core", "db", "keys", "plugins", "restore", "serve")
"""Names that no plugin may bear: the core's lineage, its version table's and commands that are no domain's."""

PLACEHOLDER = re.compile(r"<[^>]*>")
"""A variable part of a route's path."""


@dataclass
class Registry:
    """Everything contributed so far, by owner. A new contribution is checked against it, whole, before it is added."""

    contributions: dict[str, Contribution] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    public_routes: Map = field(default_factory=lambda: Map(merge_slashes=False))
    commands: set[str] = field(default_factory=set)
    _routes: Map = field(default_factory=lambda: Map(merge_slashes=False))

    def add(self, owner: str, contribution: object, *, core: bool = False) -> None:
        """Add what `owner` contributes. Raises PluginError, with nothing added, if it clashes or breaks a rule."""
        if not isinstance(contribution, Contribution):
            raise PluginError(f"yoq_contribute returned {type(contribution).__name__}, not a Contribution")
        if not core:
            self.check_owner(owner)
        self._check_operations(owner, contribution.operations, core)
        self._check_commands(owner, contribution.commands, core)
        self._check_gauges(owner, contribution.gauges, core)
        self._check_others(owner, contribution)
        rules = self._find_rules(owner, contribution, core)
        self._check_routes(rule for rule, _ in rules)
        self.contributions[owner] = contribution
        self.operations.update({operation.name: operation for operation in contribution.operations})
        self.commands.update(str(command.name) for command in contribution.commands)
        self.vocabulary.declared.update(operation.scope for operation in contribution.operations)
        for rule, declaration in rules:
            self._routes.add(rule.empty())
            if declaration.scope:
                self.vocabulary.declared.add(declaration.scope)
            if declaration.public:
                # Without methods: whatever is asked of a public path needs no credentials.
                self.public_routes.add(QuickRule(rule.rule, endpoint=rule.endpoint))
        if not core:
            self.vocabulary.plugins.append(owner)

    @property
    def settings(self) -> list[Setting[Any]]:
        """Every setting that a plugin, or a domain of the core, declares."""
        return [setting for contribution in self.contributions.values() for setting in contribution.settings]

    def list_authenticators(self, owner: str) -> Sequence[Authenticator]:
        """Return those that `owner` contributed."""
        return self.contributions[owner].authenticators if owner in self.contributions else ()

    def check_owner(self, owner: str) -> None:
        """Raise PluginError for a name that is the core's: a plugin's one word may be nothing that the core goes by."""
        if owner in {*RESERVED, *self.contributions, *self.commands, *RESOURCES}:
            raise PluginError(f"the name {owner!r} is the core's")
        for other, contribution in self.contributions.items():
            for operation in () if other in self.vocabulary.plugins else contribution.operations:
                if operation.name.startswith(f"{owner}_"):
                    raise PluginError(f"its operations could not be told from the core's {operation.name!r}")

    def _check_others(self, owner: str, contribution: Contribution) -> None:
        """Check that what else there is has the right type, and that the migrations can be read."""
        for task in contribution.periodic:
            if not callable(task):
                raise PluginError(f"its periodic task {task!r} is not a function")
        for limit in contribution.answer_limits:
            if not callable(limit):
                raise PluginError(f"its limit of answers {limit!r} is not a function")
        for authenticator in contribution.authenticators:
            if not isinstance(authenticator, Authenticator):
                raise PluginError(f"{authenticator!r} is not a yoq_web.Authenticator")
        for setting in contribution.settings:
            if not isinstance(setting, Setting):
                raise PluginError(f"{setting!r} is not a yoq_web.Setting")
            if setting.variable in {known.variable for known in (*TABLE, *self.settings)}:
                raise PluginError(f"the setting {setting.variable} exists already")
        if contribution.migrations is not None:
            self._check_migrations(owner, Path(contribution.migrations))
        if contribution.keeper is not None and not isinstance(contribution.keeper, Keeper):
            raise PluginError(f"{contribution.keeper!r} is not a yoq_web.Keeper")

    def _check_gauges(self, owner: str, gauges: Sequence[object], core: bool) -> None:
        names = {gauge.name for added in self.contributions.values() for gauge in added.gauges}
        for gauge in gauges:
            if not isinstance(gauge, Gauge):
                raise PluginError(f"{gauge!r} is not a yoq_web.Gauge")
            if not core and not gauge.name.startswith(f"yoq_{owner}_"):
                raise PluginError(f"the gauge {gauge.name!r} does not begin with {f'yoq_{owner}_'!r}")
            if gauge.name in names:
                raise PluginError(f"the gauge {gauge.name!r} exists already")
            names.add(gauge.name)

    def _check_migrations(self, owner: str, folder: Path) -> None:
        if not folder.is_dir():
            raise PluginError(f"its migrations folder {folder} does not exist")
        try:
            with isolate():
                list_revisions(Lineage(owner, folder))
        except HOOK_ERRORS as error:
            raise PluginError(f"its migrations cannot be read: {summarize_error(error)}") from error

    def _check_operations(self, owner: str, operations: Sequence[object], core: bool) -> None:
        names: set[str] = set()
        for operation in operations:
            if not isinstance(operation, Operation):
                raise PluginError(f"{operation!r} is not an Operation")
            if operation.name in self.operations:
                raise PluginError(f"the operation {operation.name!r} exists already")
            if operation.name in names:
                raise PluginError("it declares an operation twice")
            names.add(operation.name)
            if not core and not operation.name.startswith(f"{owner}_"):
                raise PluginError(f"the operation {operation.name!r} does not begin with {owner + '_'!r}")
            if not core and operation.scope != "*" and operation.scope.partition(":")[0] != owner:
                raise PluginError(f"the operation {operation.name!r} needs the foreign scope {operation.scope!r}")

    def _check_commands(self, owner: str, commands: Sequence[object], core: bool) -> None:
        names: set[str | None] = set()
        for command in commands:
            if not isinstance(command, click.Command if core else CommandGroup | Command):
                raise PluginError(f"{command!r} is not a yoq_web.CommandGroup or a yoq_web.Command")
            if not core and command.name != owner:
                raise PluginError(f"its command is called {command.name!r}, not {owner!r}")
            if command.name in self.commands:
                raise PluginError(f"the command {command.name!r} exists already")
            if command.name in names:
                raise PluginError(f"it declares the command {command.name!r} twice")
            names.add(command.name)

    def _find_rules(self, owner: str, contribution: Contribution, core: bool) -> list[tuple[Rule, Declaration]]:
        """Find the URL rules of the blueprints, by mounting them on an app that is thrown away."""
        scratch = Flask("yoq_web", static_folder=None)
        scratch.url_rule_class = QuickRule
        untouched = take_fingerprint(scratch)
        for blueprint in contribution.blueprints:
            if not isinstance(blueprint, Blueprint):
                raise PluginError(f"{blueprint!r} is not a Blueprint")
            if not core and blueprint.name != owner and not blueprint.name.startswith(f"{owner}_"):
                raise PluginError(f"its blueprint is called {blueprint.name!r}, not {owner!r}")
            scratch.register_blueprint(blueprint)
            if take_fingerprint(scratch) != untouched:
                raise PluginError(f"the blueprint {blueprint.name!r} has handlers for requests that are not its own")
        known = {*contribution.operations, *self.operations.values()}
        declared = [(rule, self._check_declaration(rule, scratch, core)) for rule in scratch.url_map.iter_rules()]
        for rule, declaration in declared:
            operation = declaration.operation
            if operation is not None and operation not in known:
                raise PluginError(f"the route {rule.rule} performs {operation.name!r}, which nobody declares")
            if declaration.scope and not is_scope(declaration.scope):
                raise PluginError(f"the route {rule.rule} needs {declaration.scope!r}, which is no scope")
            if declaration.scope and not (
                core or declaration.scope == JOINING or self._may_need(owner, declaration.scope)
            ):
                raise PluginError(f"the route {rule.rule} needs the foreign scope {declaration.scope!r}")
        return declared

    def _may_need(self, owner: str, scope: str) -> bool:
        """Tell whether a plugin's route may need `scope`: one of its own, of the core's, or the administrator's."""
        return scope.startswith(f"{owner}:") or scope in {JOINING, *self.vocabulary.core_words}

    def _check_declaration(self, rule: Rule, scratch: Flask, core: bool) -> Declaration:
        declaration = find_declaration(scratch.view_functions.get(rule.endpoint))
        if declaration is None:
            raise PluginError(f"the route {rule.rule} is not declared with endpoint()")
        writes = (rule.methods or set()) - {*READING, "OPTIONS"}
        if writes and declaration.operation is None and not declaration.unaudited:
            raise PluginError(f"the route {rule.rule} writes, but performs no operation and does not say why")
        if declaration.public and not core:
            raise PluginError(f"the route {rule.rule} is public; a plugin's routes need a scope")
        return declaration

    def _check_routes(self, rules: Iterable[Rule]) -> None:
        """Refuse a rule that would answer, or take away, a request of one that is mounted already."""
        taken = self._routes.bind("localhost")
        own: set[tuple[str, str]] = set()
        for rule in rules:
            path = _make_example(rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                if (path, method) in own:
                    raise PluginError(f"it declares the route {method} {rule.rule} twice")
                own.add((path, method))
                try:
                    taken.match(path, method)
                except RequestRedirect:
                    pass  # it answers with a redirect, to the same path with a slash
                except HTTPException:
                    continue
                raise PluginError(f"the route {method} {rule.rule} exists already")


current_registry: AppLocal[Registry] = AppLocal("registry")


def list_keepers() -> Iterator[tuple[str, Keeper]]:
    """List every owner of tables that has a say when they are backed up or restored, and its keeper."""
    for owner, contribution in current_registry().contributions.items():
        if contribution.keeper is not None:
            yield owner, contribution.keeper


def take_fingerprint(app: Flask) -> list[object]:
    """Take down what of an app touches requests and commands beyond one blueprint's: equal if nothing changed."""
    handlers = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
        app.url_default_functions,
        app.template_context_processors,
    )
    errors = app.error_handler_spec.get(None, {})
    return [
        *(tuple(table.get(None, ())) for table in handlers),
        {code: dict(by_type) for code, by_type in errors.items() if by_type},
        tuple(app.teardown_appcontext_funcs),
        tuple(app.cli.commands.items()),
        # Made at its first use, which is when a blueprint puts filters, tests or globals into it.
        "jinja_env" in vars(app),
    ]


def _make_example(rule: Rule) -> str:
    """Make a path that the rule matches, as far as its converters accept the word `1`."""
    return PLACEHOLDER.sub("1", rule.rule)
