"""Which gang each assignment is a part of, and the right address of the gang's first part.

Revision core005, after core004.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "core005"
down_revision = "core004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("assignments", sa.Column("gang", sa.String(), nullable=True))
    # The parts of a gang were stored at once in the order of their ranks, so that their numbers follow upon each other.
    op.execute("UPDATE assignments SET gang = CAST(number - rank AS VARCHAR) WHERE rank IS NOT NULL")
    op.create_index("ix_assignments_gang", "assignments", ["gang"])
    if not context.is_offline_mode():
        _tell_masters()


def _tell_masters() -> None:
    """Tell the parts where the first one is: another gang's may have been written there, or nothing when it moved."""
    connection = op.get_bind()
    firsts = connection.execute(
        sa.text(
            "SELECT assignments.gang, agents.address FROM assignments JOIN agents ON agents.id = assignments.agent_id"
            " WHERE assignments.rank = 0"
        )
    ).all()
    for gang, address in firsts:
        host = address.partition(":")[0] if address.count(":") == 1 else address
        change = sa.text("UPDATE assignments SET master = :host WHERE gang = :gang AND master <> :host")
        connection.execute(change, {"gang": gang, "host": host})


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index("ix_assignments_gang", "assignments")
    op.drop_column("assignments", "gang")
