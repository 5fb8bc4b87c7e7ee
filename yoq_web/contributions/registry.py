"""Contribution: what a plugin or a domain adds, as data, checked for clashes before anything is mounted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flask import Blueprint, Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect, Rule

from yoq_web.commands.group import CommandGroup
from yoq_web.contributions.keeper import Keeper
from yoq_web.database.migrations import Lineage, revisions
from yoq_web.hooks.host import PluginError
from yoq_web.hooks.notifier import HOOK_ERRORS
from yoq_web.http.endpoints import READING, Declaration, declaration_of
from yoq_web.http.rules import QuickRule
from yoq_web.operations.door import Operation
from yoq_web.scopes import RESOURCES, is_scope, vocabulary

RESERVED = ("agent", "alembic", "app", "backup", "backups", "core", "db", "keys", "plugins", "restore", "serve")
"""Names that no plugin may bear: the core's lineage, its version table's and commands that are no domain's."""

PLACEHOLDER = re.compile(r"<[^>]*>")
"""A variable part of a route's path."""


@dataclass(frozen=True)
class Contribution:
    """What a plugin adds. `migrations` is the folder of its Alembic revisions; its tables begin with its name.

    A `keeper` has a say when the tables are backed up or restored.
    """

    operations: Sequence[Operation] = ()
    blueprints: Sequence[Blueprint] = ()
    commands: Sequence[CommandGroup] = ()
    migrations: Path | None = None
    keeper: Keeper | None = None

    def __post_init__(self) -> None:
        # They are gone through more than once, which an iterator would survive empty.
        for name in ("operations", "blueprints", "commands"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


@dataclass
class Registry:
    """Everything contributed so far, by owner. A new contribution is checked against it, whole, before it is added."""

    contributions: dict[str, Contribution] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=set)
    public_paths: set[str] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)
    _plugins: list[str] = field(default_factory=list)
    _routes: Map = field(default_factory=lambda: Map(merge_slashes=False))

    def add(self, owner: str, contribution: object, *, core: bool = False) -> None:
        """Add what `owner` contributes. Raises PluginError, with nothing added, if it clashes or breaks a rule."""
        if not isinstance(contribution, Contribution):
            raise PluginError(f"yoq_contribute returned {type(contribution).__name__}, not a Contribution")
        if not core:
            self._check_owner(owner)
        for operation in contribution.operations:
            self._check_operation(owner, operation, core)
        names = [operation.name for operation in contribution.operations]
        if len(set(names)) < len(names):
            raise PluginError("it declares an operation twice")
        for group in contribution.commands:
            self._check_command(owner, group, core)
        if len({group.name for group in contribution.commands}) < len(contribution.commands):
            raise PluginError("it declares a command group twice")
        rules = self._rules(owner, contribution, core)
        self._check_routes(rule for rule, _ in rules)
        if contribution.migrations is not None:
            self._check_migrations(owner, Path(contribution.migrations))
        if contribution.keeper is not None and not isinstance(contribution.keeper, Keeper):
            raise PluginError(f"{contribution.keeper!r} is not a yoq_web.Keeper")
        self.contributions[owner] = contribution
        self.operations.update({operation.name: operation for operation in contribution.operations})
        self.commands.update(str(group.name) for group in contribution.commands)
        self.scopes.update(operation.scope for operation in contribution.operations)
        for rule, declaration in rules:
            self._routes.add(rule.empty())
            if declaration.scope:
                self.scopes.add(declaration.scope)
            if declaration.public:
                self.public_paths.add(rule.rule)
        if not core:
            self._plugins.append(owner)

    @property
    def resources(self) -> tuple[str, ...]:
        """Every resource that a scope may name: yoq's, and one for each plugin."""
        return (*RESOURCES, *self._plugins)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every scope that a token may be given."""
        return vocabulary(self.resources, self.scopes)

    def _check_owner(self, owner: str) -> None:
        """A plugin's one word may be nothing that the core goes by."""
        if owner in {*RESERVED, *self.contributions, *self.commands, *RESOURCES}:
            raise PluginError(f"the name {owner!r} is the core's")
        for other, contribution in self.contributions.items():
            for operation in () if other in self._plugins else contribution.operations:
                if operation.name.startswith(f"{owner}_"):
                    raise PluginError(f"its operations could not be told from the core's {operation.name!r}")

    def _check_migrations(self, owner: str, folder: Path) -> None:
        if not folder.is_dir():
            raise PluginError(f"its migrations folder {folder} does not exist")
        try:
            revisions(Lineage(owner, folder))
        except HOOK_ERRORS as error:
            raise PluginError(f"its migrations cannot be read: {type(error).__name__}: {error}") from error

    def _check_operation(self, owner: str, operation: object, core: bool) -> None:
        if not isinstance(operation, Operation):
            raise PluginError(f"{operation!r} is not an Operation")
        if operation.name in self.operations:
            raise PluginError(f"the operation {operation.name!r} exists already")
        if core:
            return
        if not operation.name.startswith(f"{owner}_"):
            raise PluginError(f"the operation {operation.name!r} does not begin with {owner + '_'!r}")
        if operation.scope != "*" and operation.scope.partition(":")[0] != owner:
            raise PluginError(f"the operation {operation.name!r} needs the foreign scope {operation.scope!r}")

    def _check_command(self, owner: str, group: object, core: bool) -> None:
        if not isinstance(group, CommandGroup):
            raise PluginError(f"{group!r} is not a yoq_web.CommandGroup")
        if not core and group.name != owner:
            raise PluginError(f"its command group is called {group.name!r}, not {owner!r}")
        if group.name in self.commands:
            raise PluginError(f"the command {group.name!r} exists already")

    def _rules(self, owner: str, contribution: Contribution, core: bool) -> list[tuple[Rule, Declaration]]:
        """The URL rules of the blueprints, found by mounting them on an app that is thrown away."""
        scratch = Flask("yoq_web", static_folder=None)
        scratch.url_rule_class = QuickRule
        untouched = reach(scratch)
        for blueprint in contribution.blueprints:
            if not isinstance(blueprint, Blueprint):
                raise PluginError(f"{blueprint!r} is not a Blueprint")
            if not core and blueprint.name != owner and not blueprint.name.startswith(f"{owner}_"):
                raise PluginError(f"its blueprint is called {blueprint.name!r}, not {owner!r}")
            scratch.register_blueprint(blueprint)
            if reach(scratch) != untouched:
                raise PluginError(f"the blueprint {blueprint.name!r} has handlers for requests that are not its own")
        known = {*contribution.operations, *self.operations.values()}
        declared = [(rule, self._declaration(rule, scratch, core)) for rule in scratch.url_map.iter_rules()]
        for rule, declaration in declared:
            operation = declaration.operation
            if operation is not None and operation not in known:
                raise PluginError(f"the route {rule.rule} performs {operation.name!r}, which nobody declares")
            if declaration.scope and not is_scope(declaration.scope):
                raise PluginError(f"the route {rule.rule} needs {declaration.scope!r}, which is no scope")
            if declaration.scope and not (core or declaration.join or self._may_need(owner, declaration.scope)):
                raise PluginError(f"the route {rule.rule} needs the foreign scope {declaration.scope!r}")
        return declared

    def _may_need(self, owner: str, scope: str) -> bool:
        """Whether a plugin's route may need `scope`: one of its own, one of the core's, or the administrator's."""
        foreign = {word for word in self.scopes if word.partition(":")[0] in self._plugins}
        return scope.startswith(f"{owner}:") or scope in {*vocabulary(RESOURCES, self.scopes)} - foreign

    def _declaration(self, rule: Rule, scratch: Flask, core: bool) -> Declaration:
        declaration = declaration_of(scratch.view_functions.get(rule.endpoint))
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
            path = _example(rule)
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


def reach(app: Flask) -> list[object]:
    """What of an app touches requests and commands beyond one blueprint's; two answers are equal if nothing changed."""
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


def _example(rule: Rule) -> str:
    """A path that the rule matches, as far as its converters accept the word `1`."""
    return PLACEHOLDER.sub("1", rule.rule)
