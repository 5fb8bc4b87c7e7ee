"""Two entries for an event that acts outside the database: its intent, `started`, and its outcome.

Revision audit006, after audit005.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "audit006"
down_revision = "audit005"
branch_labels = None
depends_on = None

WHERE = {"settled": "outcome <> 'started'", "started": "outcome = 'started'"}
"""An event has one entry of each kind at most."""

COLUMNS = (
    "id, event_id, recorded_at, time, actor, actor_kind, action, target, outcome, reason, request_id, node, peer, "
    "details, version, nonce"
)
OPTIONAL = ("target", "reason", "request_id", "peer")

TWICE = (
    "SELECT b.event_id FROM audit_log b JOIN audit_log e ON e.event_id = b.event_id AND e.outcome <> 'started' "
    "WHERE b.outcome = 'started' LIMIT 1"
)


def upgrade() -> None:
    """Apply this revision."""
    if op.get_context().dialect.name == "sqlite":
        rebuild()
    else:
        op.drop_constraint("uq_audit_log_event_id", "audit_log", type_="unique")
    for kind, where in WHERE.items():
        op.create_index(
            op.f(f"ix_audit_log_{kind}"),
            "audit_log",
            ["event_id"],
            unique=True,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def downgrade() -> None:
    """Take this revision back. Refused once an event has two entries: one would have to go."""
    if not op.get_context().as_sql and (found := op.get_bind().execute(sa.text(TWICE)).first()):
        raise CommandError(f"the event {found[0]} has two entries, which the revision before does not allow")
    for kind in WHERE:
        op.drop_index(op.f(f"ix_audit_log_{kind}"), table_name="audit_log")
    if op.get_context().dialect.name == "sqlite":
        rebuild(sa.UniqueConstraint("event_id", name=op.f("uq_audit_log_event_id")))
    else:
        op.create_unique_constraint(op.f("uq_audit_log_event_id"), "audit_log", ["event_id"])


def rebuild(*constraints: sa.Constraint) -> None:
    """SQLite: make the table anew with these constraints, since it cannot drop one. Indexes and triggers stay."""
    definitions = list(printed_definitions() if op.get_context().as_sql else stored_definitions())
    op.create_table(
        "audit_log_anew", *columns(), sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")), *constraints
    )
    # Without naming the columns, SQLite copies the rows as they are, page after page.
    op.execute("INSERT INTO audit_log_anew SELECT * FROM audit_log")
    # Triggers of other tables speak of this one, which for a moment is not there.
    op.execute("PRAGMA legacy_alter_table=ON")
    op.execute("DROP TABLE audit_log")
    op.execute("ALTER TABLE audit_log_anew RENAME TO audit_log")
    op.execute("PRAGMA legacy_alter_table=OFF")
    for definition in definitions:
        op.execute(sa.text(definition.replace(":", r"\:")))


def columns() -> list[sa.Column[Any]]:
    """The columns in the order that they have on SQLite, where each revision added its own at the end."""
    kinds: dict[str, Any] = dict.fromkeys(("recorded_at", "time"), sa.BigInteger())
    kinds |= {"id": sa.BigInteger().with_variant(sa.Integer(), "sqlite"), "version": sa.Integer()}
    return [
        sa.Column(
            name,
            kinds.get(name, sa.String()),
            nullable=name in OPTIONAL,
            server_default="-" if name == "nonce" else None,
        )
        for name in COLUMNS.split(", ")
    ]


def stored_definitions() -> Iterable[str]:
    """The table's indexes and triggers, an operator's own among them."""
    query = "SELECT sql FROM sqlite_master WHERE tbl_name = 'audit_log' AND type <> 'table' AND sql IS NOT NULL"
    return op.get_bind().scalars(sa.text(query)).all()


def printed_definitions() -> Iterable[str]:
    """The same where there is no database to ask: what the revisions before made."""
    script = op.get_context().environment_context.script  # type: ignore[union-attr]  # there is one where SQL is printed
    retention, reading = (script.get_revision(name).module for name in ("audit004", "audit005"))
    yield f"CREATE INDEX ix_audit_log_announcing ON audit_log (id) WHERE {retention.ANNOUNCING}"
    for column, rows in reading.COLUMNS.items():
        where = f" WHERE {rows}" if rows else ""
        yield f"CREATE INDEX ix_audit_log_{column} ON audit_log ({column}, id){where}"
    for moment, allowed in retention.TRIGGERS["audit_log"].items():
        name = f"audit_log_no_{moment.partition(' ')[0].lower()}"
        yield (
            f"CREATE TRIGGER {name} BEFORE {moment} ON audit_log WHEN NOT {allowed} "
            "BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END"
        )
