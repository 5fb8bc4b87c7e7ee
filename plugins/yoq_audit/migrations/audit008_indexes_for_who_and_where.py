"""Indexes for the filters by kind of actor and by peer.

Revision audit008, after audit007.
"""

import sqlalchemy as sa
from alembic import op

revision = "audit008"
down_revision = "audit007"
branch_labels = None
depends_on = None

COLUMNS = {"actor_kind": None, "peer": "peer IS NOT NULL"}
"""Each indexed column, and for which rows."""


def upgrade() -> None:
    """Apply this revision."""
    for column, rows in COLUMNS.items():
        where = sa.text(rows) if rows else None
        op.create_index(
            op.f(f"ix_audit_log_{column}"),
            "audit_log",
            [column, "id"],
            sqlite_where=where,
            postgresql_where=where,
            # The peers of a network are found by how they begin.
            postgresql_ops={"peer": "text_pattern_ops"} if column == "peer" else {},
        )


def downgrade() -> None:
    """Take this revision back."""
    for column in reversed(COLUMNS):
        op.drop_index(op.f(f"ix_audit_log_{column}"), table_name="audit_log")
