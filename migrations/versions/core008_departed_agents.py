"""Since when agents drain and what they wait for, and which agents were removed or forgotten.

Revision core008, after core007.
"""

import sqlalchemy as sa
from alembic import op

revision = "core008"
down_revision = "core007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("agents", sa.Column("draining_since", sa.BigInteger(), nullable=True))
    op.add_column("agents", sa.Column("waits_for", sa.String(), nullable=True))
    op.execute("UPDATE agents SET draining_since = last_heartbeat WHERE status = 'draining'")
    op.create_table(
        "departed_agents",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("departed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_departed_agents")),
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_table("departed_agents")
    op.drop_column("agents", "waits_for")
    op.drop_column("agents", "draining_since")
