"""Contribution: what a plugin or a domain adds, as data, checked for clashes before anything is mounted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flask import Blueprint, Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from yoq_web.commands import CommandGroup
from yoq_web.endpoints import READING, Declaration, declaration_of
from yoq_web.operations import Operation
from yoq_web.plugins import PluginError
from yoq_web.scopes import RESOURCES, vocabulary


@dataclass(frozen=True)
class Contribution:
    """What a plugin adds. `migrations` is the folder of its Alembic revisions; its tables begin with its name."""

    operations: Sequence[Operation] = ()
    blueprints: Sequence[Blueprint] = ()
    commands: Sequence[CommandGroup] = ()
    migrations: Path | None = None


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
        for operation in contribution.operations:
            self._check_operation(owner, operation, core)
        names = [operation.name for operation in contribution.operations]
        if len(set(names)) < len(names):
            raise PluginError("it declares an operation twice")
        for group in contribution.commands:
            self._check_command(owner, group, core)
        rules = [rule for blueprint in contribution.blueprints for rule in self._rules(owner, blueprint, core)]
        self._check_routes(rule for rule, _ in rules)
        if contribution.migrations is not None and not Path(contribution.migrations).is_dir():
            raise PluginError(f"its migrations folder {contribution.migrations} does not exist")
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

    def _rules(self, owner: str, blueprint: object, core: bool) -> list[tuple[Rule, Declaration]]:
        """The URL rules of a blueprint, found by mounting it on an app that is thrown away."""
        if not isinstance(blueprint, Blueprint):
            raise PluginError(f"{blueprint!r} is not a Blueprint")
        if not core and blueprint.name != owner and not blueprint.name.startswith(f"{owner}_"):
            raise PluginError(f"its blueprint is called {blueprint.name!r}, not {owner!r}")
        scratch = Flask("yoq_web", static_folder=None)
        scratch.register_blueprint(blueprint)
        app_wide = (
            scratch.before_request_funcs,
            scratch.after_request_funcs,
            scratch.teardown_request_funcs,
            scratch.error_handler_spec,
            scratch.url_value_preprocessors,
        )
        if any(table.get(None) for table in app_wide):
            raise PluginError(f"the blueprint {blueprint.name!r} has handlers for requests that are not its own")
        return [(rule, self._declaration(rule, scratch, core)) for rule in scratch.url_map.iter_rules()]

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
                except HTTPException:
                    continue
                raise PluginError(f"the route {method} {rule.rule} exists already")


def _example(rule: Rule) -> str:
    """A path that the rule matches, as far as its converters accept the word `1`."""
    try:
        path = Map([rule.empty()]).bind("localhost").build(rule.endpoint, dict.fromkeys(rule.arguments, "1"))
    except (ValueError, HTTPException):
        return rule.rule
    return str(path)
