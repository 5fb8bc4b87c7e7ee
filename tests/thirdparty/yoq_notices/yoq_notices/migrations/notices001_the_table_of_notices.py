"""The table of notices.

Revision notices001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "notices001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "notices_notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices_notices")),
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_table("notices_notices")
