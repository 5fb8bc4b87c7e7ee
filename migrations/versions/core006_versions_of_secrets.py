"""How often each secret was set, so that the trail can say which value was replaced without saying the value.

Revision core006, after core005.
"""

import sqlalchemy as sa
from alembic import op

revision = "core006"
down_revision = "core005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("secrets", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("secrets", "version")
