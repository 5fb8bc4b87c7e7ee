"""The tree over the audit log, and triggers that keep entries as they are.

Revision audit002, after audit001.
"""

import sqlalchemy as sa
from alembic import op

revision = "audit002"
down_revision = "audit001"
branch_labels = None
depends_on = None

RECORDED = (
    "id, event_id, recorded_at, time, actor, actor_kind, action, target, outcome, reason, request_id, node, peer, "
    "details, version, nonce"
)
RANDOM = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "replace(gen_random_uuid()::text, '-', '')"}
TREE = ("audit_leaf", "audit_tile", "audit_checkpoint", "audit_key")

POSTGRESQL_REFUSAL = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$
"""


def upgrade() -> None:
    """Apply this revision."""
    dialect = op.get_context().dialect.name
    # The default is for the rows that are there, which get a nonce of their own at once.
    op.add_column("audit_log", sa.Column("nonce", sa.String(), nullable=False, server_default="-"))
    op.execute(f"UPDATE audit_log SET nonce = {RANDOM[dialect]}")  # noqa: S608 - constants only
    op.create_table(
        "audit_leaf",
        sa.Column(
            "leaf_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("leaf_index", name=op.f("pk_audit_leaf")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_audit_leaf_entry_id")),
    )
    op.create_table(
        "audit_tile",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_audit_tile")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("last_entry", sa.BigInteger(), nullable=False),
        sa.Column("horizon", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_key",
        sa.Column("vkey", sa.String(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vkey", name=op.f("pk_audit_key")),
    )
    if dialect == "sqlite":
        for name, moment in (("update", f"UPDATE OF {RECORDED}"), ("delete", "DELETE")):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{name} BEFORE {moment} ON audit_log "
                "BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END"
            )
    else:
        op.execute(POSTGRESQL_REFUSAL)
        op.execute(
            f"CREATE TRIGGER audit_log_no_update BEFORE UPDATE OF {RECORDED} OR DELETE ON audit_log "
            "FOR EACH ROW EXECUTE FUNCTION audit_refuse()"
        )
        op.execute(
            "CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
        )


def downgrade() -> None:
    """Take this revision back."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_log_no_update")
        op.execute("DROP TRIGGER audit_log_no_delete")
    else:
        op.execute("DROP TRIGGER audit_log_no_update ON audit_log")
        op.execute("DROP TRIGGER audit_log_no_truncate ON audit_log")
        op.execute("DROP FUNCTION audit_refuse()")
    for table in TREE:
        op.drop_table(table)
    op.drop_column("audit_log", "nonce")
