"""Indexes for the filters of the trail.

Revision audit005, after audit004.
"""

import sqlalchemy as sa
from alembic import op

revision = "audit005"
down_revision = "audit004"
branch_labels = None
depends_on = None

COLUMNS = {
    "actor": None,
    "action": None,
    "target": "target IS NOT NULL",
    "outcome": "outcome <> 'ok'",
    "node": None,
    "request_id": "request_id IS NOT NULL",
    "time": None,
}
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
            # Prefixes are compared byte by byte, whatever the database's collation.
            postgresql_ops={"target": "text_pattern_ops"} if column == "target" else {},
        )


def downgrade() -> None:
    """Take this revision back."""
    for column in reversed(COLUMNS):
        op.drop_index(op.f(f"ix_audit_log_{column}"), table_name="audit_log")
