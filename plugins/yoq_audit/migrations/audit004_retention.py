"""Retention: entries may go that an entry announced as pruned or erased, and no others.

Revision audit004, after audit003.
"""

import sqlalchemy as sa
from alembic import op

revision = "audit004"
down_revision = "audit003"
branch_labels = None
depends_on = None

NEW = ("audit_minimum", "audit_erased", "audit_pruned")
ANNOUNCING = "action IN ('audit_prune', 'audit_erase')"
RECORDED = (
    "id, event_id, recorded_at, time, actor, actor_kind, action, target, outcome, reason, request_id, node, peer, "
    "details, version, nonce"
)
NUMBER = {
    "sqlite": "json_extract({row}.details, '$.{name}')",
    "postgresql": "(({row}.details)::json ->> '{name}')::bigint",
}
"""A number among an entry's details."""

UNDER_MINIMUM = """EXISTS (
    SELECT 1 FROM audit_leaf l, (SELECT minimum, cutoff FROM audit_minimum ORDER BY minimum DESC LIMIT 1) m
    WHERE l.entry_id = OLD.id AND l.leaf_index < m.minimum AND OLD.time < m.cutoff)"""
WAS_ERASED = """EXISTS (
    SELECT 1 FROM audit_leaf l JOIN audit_erased g ON g.leaf_index = l.leaf_index
    WHERE l.entry_id = OLD.id AND g.event_id = OLD.event_id)"""
PLACE_MAY_GO = """(OLD.leaf_index < (SELECT coalesce(max(minimum), 0) FROM audit_minimum)
    AND NOT EXISTS (SELECT 1 FROM audit_log e WHERE e.id = OLD.entry_id))"""
MINIMUM_ANNOUNCED = """(NEW.minimum % 256 = 0
    AND NEW.minimum > (SELECT coalesce(max(minimum), 0) FROM audit_minimum)
    AND EXISTS (
        SELECT 1 FROM audit_log e JOIN audit_leaf l ON l.entry_id = e.id
        WHERE e.event_id = NEW.event_id AND e.action = 'audit_prune' AND e.outcome = 'ok'
        AND l.leaf_index >= NEW.minimum AND {minimum_after} = NEW.minimum AND {cutoff} = NEW.cutoff))"""
ERASURE_ANNOUNCED = """(NOT EXISTS (SELECT 1 FROM audit_erased g WHERE g.leaf_index = NEW.leaf_index)
    AND EXISTS (
        SELECT 1 FROM audit_log e JOIN audit_leaf l ON l.entry_id = e.id
        WHERE e.event_id = NEW.announced_by AND e.action = 'audit_erase' AND e.outcome = 'ok'
        AND e.target = NEW.event_id AND NEW.leaf_index IN ({index}, {started_index}))
    AND EXISTS (
        SELECT 1 FROM audit_leaf l JOIN audit_log e ON e.id = l.entry_id
        WHERE l.leaf_index = NEW.leaf_index AND e.event_id = NEW.event_id
        AND e.action NOT IN ('audit_prune', 'audit_erase')))"""

TRIGGERS = {
    "audit_log": {
        f"UPDATE OF {RECORDED}": "false",
        "DELETE": f"({UNDER_MINIMUM} OR {WAS_ERASED})",
    },
    "audit_leaf": {"UPDATE": "false", "DELETE": PLACE_MAY_GO},
    "audit_minimum": {"INSERT": MINIMUM_ANNOUNCED, "UPDATE": "false", "DELETE": "false"},
    "audit_erased": {"INSERT": ERASURE_ANNOUNCED, "UPDATE": "false", "DELETE": "false"},
    "audit_pruned": {"UPDATE": "false", "DELETE": "false"},
}
"""By table and moment: the condition under which a row may be changed."""


def upgrade() -> None:
    """Apply this revision."""
    dialect = op.get_context().dialect.name
    index = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit_minimum",
        sa.Column("minimum", index, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("cutoff", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("minimum", name=op.f("pk_audit_minimum")),
    )
    op.create_table(
        "audit_erased",
        sa.Column("leaf_index", index, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("announced_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("leaf_index", name=op.f("pk_audit_erased")),
    )
    op.create_index(op.f("ix_audit_erased_event_id"), "audit_erased", ["event_id"])
    op.create_table(
        "audit_pruned",
        sa.Column("number", index, autoincrement=False, nullable=False),
        sa.Column("first_time", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_pruned")),
    )
    op.create_index(op.f("ix_audit_pruned_last_time"), "audit_pruned", ["last_time"])
    # Few entries: what retention and verification look for among all of them.
    op.create_index(
        op.f("ix_audit_log_announcing"),
        "audit_log",
        ["id"],
        sqlite_where=sa.text(ANNOUNCING),
        postgresql_where=sa.text(ANNOUNCING),
    )
    announced_before(dialect)
    drop_triggers(dialect)
    create_triggers(dialect)


def announced_before(dialect: str) -> None:
    """Believe what the log itself announced before this revision was once taken back."""
    number = NUMBER[dialect].format
    op.execute(
        "INSERT INTO audit_minimum (minimum, event_id, cutoff) "  # noqa: S608 - constants only
        f"SELECT {number(row='e', name='minimum_after')}, e.event_id, {number(row='e', name='cutoff')} "
        "FROM audit_log e JOIN audit_leaf l ON l.entry_id = e.id "
        "WHERE e.action = 'audit_prune' AND e.outcome = 'ok' ORDER BY e.id DESC LIMIT 1"
    )
    op.execute(
        "INSERT INTO audit_erased (leaf_index, event_id, announced_by) "  # noqa: S608 - constants only
        "SELECT p.leaf_index, e.target, e.event_id FROM audit_log e JOIN audit_leaf p ON p.leaf_index IN "
        f"({number(row='e', name='index')}, {number(row='e', name='started_index')}) "
        "WHERE e.action = 'audit_erase' AND e.outcome = 'ok' AND e.target IS NOT NULL"
    )


def drop_triggers(dialect: str) -> None:
    """Take away those of the revision before."""
    if dialect == "sqlite":
        op.execute("DROP TRIGGER audit_log_no_update")
        op.execute("DROP TRIGGER audit_log_no_delete")
    else:
        op.execute("DROP TRIGGER audit_log_no_update ON audit_log")


def create_triggers(dialect: str) -> None:
    """Have the database refuse what nothing announced."""
    number = NUMBER[dialect].format
    details = {name: number(row="e", name=name) for name in ("minimum_after", "cutoff", "index", "started_index")}
    for table, moments in TRIGGERS.items():
        for moment, allowed in moments.items():
            name = f"{table}_no_{moment.partition(' ')[0].lower()}"
            if dialect == "sqlite":
                op.execute(
                    f"CREATE TRIGGER {name} BEFORE {moment} ON {table} WHEN NOT {allowed.format(**details)} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
                continue
            function = "audit_refuse"
            if allowed != "false":
                function = name
                row = "OLD" if moment == "DELETE" else "NEW"
                op.execute(
                    f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"IF {allowed.format(**details)} THEN RETURN {row}; END IF; "
                    f"RAISE EXCEPTION '{table} is append-only'; END $$"
                )
            op.execute(f"CREATE TRIGGER {name} BEFORE {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()")
        if dialect != "sqlite" and table != "audit_log":  # which has it from the revision before
            op.execute(
                f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
            )


def downgrade() -> None:
    """Take this revision back. What was pruned or erased stays announced in the log, and is gone."""
    dialect = op.get_context().dialect.name
    for table in NEW:
        op.drop_table(table)
    for table, moments in TRIGGERS.items():
        for moment, allowed in moments.items():
            name = f"{table}_no_{moment.partition(' ')[0].lower()}"
            if dialect == "sqlite" and table not in NEW:
                op.execute(f"DROP TRIGGER {name}")
            elif dialect != "sqlite":
                if table not in NEW:
                    op.execute(f"DROP TRIGGER {name} ON {table}")
                if allowed != "false":
                    op.execute(f"DROP FUNCTION {name}()")
    op.drop_index(op.f("ix_audit_log_announcing"), "audit_log")
    if dialect == "sqlite":
        for name, moment in (("update", f"UPDATE OF {RECORDED}"), ("delete", "DELETE")):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{name} BEFORE {moment} ON audit_log "
                "BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END"
            )
    else:
        op.execute("DROP TRIGGER audit_leaf_no_truncate ON audit_leaf")
        op.execute(
            f"CREATE TRIGGER audit_log_no_update BEFORE UPDATE OF {RECORDED} OR DELETE ON audit_log "
            "FOR EACH ROW EXECUTE FUNCTION audit_refuse()"
        )
