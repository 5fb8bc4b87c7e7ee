"""Lineages: each owner of tables, the core and every plugin, has its own chain of migrations and version table."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from flask import Flask
from flask_migrate import Migrate
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import OperationalError, ProgrammingError
from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.app_local import AppLocal
from yoq_web.database.session import Model, db
from yoq_web.hooks.errors import HOOK_ERRORS, find_raised, isolate
from yoq_web.logs import render_exception
from yoq_web.problems import Problem
from yoq_web.settings import REQUIRED_PLUGINS, current_settings

log = get_logger("yoq_web")

CORE = "core"

NEEDED = frozenset({CORE, *REQUIRED_PLUGINS})
"""The lineages without which nothing is served."""


def find_migrations_folder() -> Path:
    """Find env.py and the core's revisions: beside the package in a clone, inside it in an installed wheel."""
    package = Path(__file__).parent.parent
    # The repository first: an editable install leaves a stale copy of the folder in site-packages.
    beside = package.parent / "migrations"
    return beside if (beside / "env.py").exists() else package / "migrations"


@dataclass(frozen=True)
class Lineage:
    """One owner's chain of migrations. `versions` is the folder of its revisions."""

    name: str
    versions: Path

    @property
    def version_table(self) -> str:
        """The table that holds the lineage's current revision."""
        return "alembic_version" if self.name == CORE else f"alembic_version_{self.name}"

    def owns(self, table: str) -> bool:
        """Tell whether a table is this lineage's: a plugin's begins with its name, the core's are its models'."""
        if self.name != CORE:
            return table.startswith(f"{self.name}_")
        return table in list_core_tables()


@dataclass(frozen=True)
class Standing:
    """Where a lineage is in the database, and where this version of the software wants it."""

    lineage: Lineage
    current: str | None
    head: str | None
    known: bool = True
    """Whether the software knows the current revision; a newer version's it does not."""

    @property
    def up_to_date(self) -> bool:
        """Whether the database is where the software wants it."""
        return self.current == self.head

    def __str__(self) -> str:
        at = f"{self.lineage.name}: {self.current or 'nothing'}"
        if not self.known:
            return f"{at}, made by a newer version"
        return at if self.up_to_date else f"{at}, behind {self.head}"


current_lineages: AppLocal[list[Lineage]] = AppLocal("lineages", lambda _app: [])
"""The lineages of those plugins that bring migrations, in load order."""


def list_core_tables() -> frozenset[str]:
    """List the core's tables, taken from its models."""
    mappers = Model.registry.mappers
    return frozenset(str(mapper.local_table) for mapper in mappers if mapper.class_.__module__.startswith("yoq_web."))


def list_lineages() -> list[Lineage]:
    """List the core's lineage, then each plugin's that brings migrations, in load order."""
    return [Lineage(CORE, find_migrations_folder() / "versions"), *current_lineages()]


def find_lineage(name: str) -> Lineage:
    """Find one lineage. Raises a Problem naming those there are."""
    for lineage in list_lineages():
        if lineage.name == name:
            return lineage
    known = ", ".join(lineage.name for lineage in list_lineages())
    raise Problem(400, f"no lineage {name!r}", f"there are: {known}")


def choose_lineage(arguments: Iterable[str]) -> Lineage:
    """Choose the lineage that the arguments of -x name, the core's by default. Raises a Problem for another word."""
    chosen = set(arguments) or {f"plugin={CORE}"}
    word, _, name = chosen.pop().partition("=")
    if word != "plugin" or chosen:
        raise Problem(400, "-x takes one plugin=NAME", "it chooses the lineage and nothing else")
    return find_lineage(name)


def init_app(app: Flask) -> None:
    """Give the app Flask-Migrate, told to look at one lineage at a time: `-x plugin=NAME`, the core's by default."""
    migrate = Migrate(directory=str(find_migrations_folder()), compare_type=True, render_as_batch=True)
    migrate.init_app(app, db)
    migrate.configure(_configure)


def _configure(config: Config) -> Config:
    lineage = choose_lineage(getattr(config.cmd_opts, "x", []))
    # A folder's name may hold a space, a comma or a colon; a newline it will not.
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(lineage.versions).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["lineage"] = lineage
    return config


def make_configuration(lineage: Lineage, engine: Engine | None = None) -> Config:
    """Make Alembic's configuration for one lineage, without Flask-Migrate; on another database if one is given."""
    config = Config()
    config.attributes["engine"] = engine
    config.set_main_option("script_location", str(find_migrations_folder()))
    config.cmd_opts = Namespace(x=[f"plugin={lineage.name}"])
    return _configure(config)


class UpgradeFailed(Problem):
    """The migrations of plugins that the program can do without failed; everything else was upgraded."""

    def __init__(self, errors: Mapping[str, BaseException]) -> None:
        told = "; ".join(f"{name}: {_explain(error)}" for name, error in errors.items())
        cure = "; ".join(f"yoq-web db upgrade -x plugin={name}" for name in errors)
        super().__init__(503, "migrations failed, and were undone", f"{told}. To see where, run: {cure}")
        self.errors = dict(errors)

    def log(self) -> None:
        """Tell it where nobody waits for an answer."""
        for name, error in self.errors.items():
            what = "a plugin's migrations failed and were undone"
            log.error(what, plugin=name, error=_explain(error), exception=render_exception(error))


def _explain(error: BaseException) -> str:
    # Alembic's and our own words; any other message may be about what is stored.
    return str(error) if isinstance(error, CommandError) else render_exception(error).partition("\n")[0]


def upgrade(tell: Callable[[str], object] = lambda _text: None, engine: Engine | None = None) -> None:
    """Bring every lineage to its head: the core first, then the plugins in load order, each in one transaction.

    A plugin that the program can do without holds up nothing: if its migrations fail, or the database is ahead of
    them, the others are upgraded before this raises.
    """
    found = list_standings(engine)
    unknown = [standing for standing in found if not standing.known]
    errors: dict[str, BaseException] = {}
    for standing in found:
        name = standing.lineage.name
        if standing in unknown and name == CORE:
            raise make_outdated_problem(unknown)
        if standing.known and not standing.up_to_date:
            try:
                with isolate():
                    command.upgrade(make_configuration(standing.lineage, engine), "head")
            except HOOK_ERRORS as error:
                if name in NEEDED:
                    raise
                errors[name] = find_raised(error)
            else:
                tell(f"{name}: {standing.current or 'nothing'} -> {standing.head}")
    if errors:
        raise UpgradeFailed(errors)
    if unknown:
        raise make_outdated_problem(unknown)


def make_outdated_problem(wrong: list[Standing]) -> Problem:
    """Make the error for lineages that are not where the software wants them, saying what to do."""
    cure = "Run: yoq-web db upgrade"
    if not all(standing.known for standing in wrong):
        cure = "Install the version that made the database, or a newer one"
    return Problem(503, "the database is not up to date", f"{'; '.join(str(standing) for standing in wrong)}. {cure}")


@functools.cache
def list_revisions(lineage: Lineage) -> tuple[str, ...]:
    """List the revisions in a lineage's folder, the newest first, as they were when this process first looked.

    Raises CommandError, or what a broken file raises when it is read.
    """
    scripts = ScriptDirectory(str(find_migrations_folder()), version_locations=[str(lineage.versions)])
    scripts.get_current_head()  # raises if there are several
    return tuple(script.revision for script in scripts.walk_revisions())


def are_up_to_date() -> bool:
    """Tell in one statement whether every lineage is at its head; False where that cannot be told so."""
    heads = {lineage.version_table: list_revisions(lineage)[:1] for lineage in list_lineages()}
    tables = [f"SELECT '{table}', version_num FROM {table}" for table in heads]  # noqa: S608 - our own names
    try:
        with db.engine.connect() as connection:
            found = connection.exec_driver_sql(" UNION ALL ".join(tables)).all()
    except (OperationalError, ProgrammingError):  # a table is not there
        return False
    return sorted(map(tuple, found)) == sorted((table, *head) for table, head in heads.items())


def list_standings(engine: Engine | None = None) -> list[Standing]:
    """Read where each lineage stands in the database, the application's unless another is given."""
    with (engine or db.engine).connect() as connection:
        tables = set(inspect(connection).get_table_names())
        return [_read_standing(lineage, connection, tables) for lineage in list_lineages()]


def _read_standing(lineage: Lineage, connection: Connection, tables: set[str]) -> Standing:
    current = None
    if lineage.version_table in tables:
        context = MigrationContext.configure(connection, opts={"version_table": lineage.version_table})
        current = context.get_current_revision()
    known = list_revisions(lineage)
    return Standing(lineage, current, known[0] if known else None, current is None or current in known)


def prepare_database(app: Flask, *, may_write: bool = True) -> None:
    """Make an empty embedded database ready, if told so. Raises a Problem with what to run if it is not up to date.

    Plugins that are not required are served as they are, if they are behind: /health names them.
    """
    with app.app_context():
        found = list_standings()
        settings = current_settings(app)
        if may_write and settings.on_sqlite and not all(standing.up_to_date for standing in found):
            # One process at a time: between two lineages another would take the database for one of an older version.
            with files.lock(settings.data_dir / "migrating.lock"):
                found = list_standings()
                if all(standing.current is None for standing in found):
                    try:
                        upgrade()
                    except UpgradeFailed as failed:
                        failed.log()
                    return
        wrong = [standing for standing in found if not standing.up_to_date]
        if NEEDED.intersection(standing.lineage.name for standing in wrong):
            raise make_outdated_problem(wrong)
