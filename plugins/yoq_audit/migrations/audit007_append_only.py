"""Append-only in every column, all tables of the log: what the program itself changes is all that the database lets.

Revision audit007, after audit006. It does not mind triggers that somebody took away before.
"""

from alembic import op

revision = "audit007"
down_revision = "audit006"
branch_labels = None
depends_on = None

COLUMNS = (
    "id, event_id, recorded_at, time, actor, actor_kind, action, target, outcome, reason, request_id, node, peer, "
    "details, version, nonce"
)

GROWS = """(NEW.level = OLD.level AND NEW.number = OLD.number
    AND substr(NEW.hashes, 1, length(OLD.hashes)) = OLD.hashes)"""
IS_NEXT_SIZE = """(NEW.note IS NULL AND NEW.size > (SELECT coalesce(max(size), 0) FROM audit_checkpoint)
    AND NEW.size = (SELECT max(leaf_index) + 1 FROM audit_leaf))"""
IS_SIGNED = """(OLD.note IS NULL AND NEW.note IS NOT NULL AND NEW.size = OLD.size AND NEW.root = OLD.root
    AND NEW.last_entry = OLD.last_entry AND NEW.horizon = OLD.horizon AND NEW.sealed_at = OLD.sealed_at)"""
IS_NEXT_BUNDLE = """(NEW.number = (SELECT coalesce(max(number) + 1, 0) FROM audit_pruned)
    AND (NEW.number + 1) * 256 <= (SELECT max(minimum) FROM audit_minimum))"""

TRIGGERS = {
    "audit_tile": {"UPDATE": GROWS, "DELETE": "false"},
    "audit_checkpoint": {"INSERT": IS_NEXT_SIZE, "UPDATE": IS_SIGNED, "DELETE": "false"},
    "audit_key": {"UPDATE": "false", "DELETE": "false"},
    "audit_pruned": {"INSERT": IS_NEXT_BUNDLE},
}
"""By table and moment: the condition under which a row may be changed. What is not here is as it was before."""

EMPTIED = ("audit_tile", "audit_checkpoint", "audit_key")
"""The tables that PostgreSQL could be told to empty."""


def upgrade() -> None:
    """Apply this revision."""
    # `UPDATE OF` all columns is not asked where SQLite's other name of the number is used, as in SET rowid = 5.
    remake_update_trigger("UPDATE")
    for table, moments in TRIGGERS.items():
        for moment, allowed in moments.items():
            make_trigger(table, moment, allowed)
    if op.get_context().dialect.name != "sqlite":
        for table in EMPTIED:
            op.execute(f"DROP TRIGGER IF EXISTS {table}_no_truncate ON {table}")
            op.execute(
                f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
            )


def remake_update_trigger(moment: str) -> None:
    """Have the entries' own trigger asked at another moment."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER IF EXISTS audit_log_no_update")
        op.execute(
            f"CREATE TRIGGER audit_log_no_update BEFORE {moment} ON audit_log WHEN NOT false "
            "BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END"
        )
        return
    op.execute("DROP TRIGGER IF EXISTS audit_log_no_update ON audit_log")
    op.execute(
        f"CREATE TRIGGER audit_log_no_update BEFORE {moment} ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_refuse()"
    )


def make_trigger(table: str, moment: str, allowed: str) -> None:
    """Have the database refuse a change of a row unless it is allowed; what cannot be told is not."""
    name = f"{table}_no_{moment.lower()}"
    drop_trigger(table, name)
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {moment} ON {table} WHEN NOT coalesce({allowed}, false) "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
        return
    function = "audit_refuse"
    if allowed != "false":
        function = name
        op.execute(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {allowed} THEN RETURN NEW; END IF; RAISE EXCEPTION '{table} is append-only'; END $$"
        )
    op.execute(f"CREATE TRIGGER {name} BEFORE {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()")


def drop_trigger(table: str, name: str) -> None:
    """Take a trigger away if it is there."""
    on = "" if op.get_context().dialect.name == "sqlite" else f" ON {table}"
    op.execute(f"DROP TRIGGER IF EXISTS {name}{on}")


def downgrade() -> None:
    """Take this revision back."""
    on_sqlite = op.get_context().dialect.name == "sqlite"
    for table, moments in TRIGGERS.items():
        for moment, allowed in moments.items():
            name = f"{table}_no_{moment.lower()}"
            drop_trigger(table, name)
            if not on_sqlite and allowed != "false":
                op.execute(f"DROP FUNCTION IF EXISTS {name}()")
    if not on_sqlite:
        for table in EMPTIED:
            drop_trigger(table, f"{table}_no_truncate")
    remake_update_trigger(f"UPDATE OF {COLUMNS}")
