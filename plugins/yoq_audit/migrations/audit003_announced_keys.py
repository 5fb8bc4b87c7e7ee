"""How each further key of the log was announced by the one before it.

Revision audit003, after audit002.
"""

import sqlalchemy as sa
from alembic import op

revision = "audit003"
down_revision = "audit002"
branch_labels = None
depends_on = None

ANNOUNCEMENT = {
    "sqlite": "json_extract(details, '$.announcement')",
    "postgresql": "details::json ->> 'announcement'",
}


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("audit_key", sa.Column("announcement", sa.String(), nullable=True))
    # For a log whose keys were announced before this revision was once taken back.
    announced = ANNOUNCEMENT[op.get_context().dialect.name]
    op.execute(
        f"UPDATE audit_key SET announcement = (SELECT max({announced}) FROM audit_log "  # noqa: S608 - constants only
        "WHERE action = 'audit_key_rotate' AND outcome = 'ok' AND target = audit_key.vkey)"
    )


def downgrade() -> None:
    """Take this revision back; the announcements stay in the log itself."""
    op.drop_column("audit_key", "announcement")
