"""The tables of agents and of their WireGuard peers.

Revision core003, after core002.
"""

import sqlalchemy as sa
from alembic import op

revision = "core003"
down_revision = "core002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "agents",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("agent_api_port", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("status_before", sa.String(), nullable=False),
        sa.Column("drained_at", sa.BigInteger(), nullable=True),
        sa.Column("cpu_cores", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("cpu_used", sa.BigInteger(), nullable=False),
        sa.Column("memory_used_mb", sa.BigInteger(), nullable=False),
        sa.Column("containers", sa.BigInteger(), nullable=False),
        sa.Column("last_heartbeat", sa.BigInteger(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=True),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("gpu_used", sa.BigInteger(), nullable=False),
        sa.Column("gpu_model", sa.String(), nullable=True),
        sa.Column("gpu_vram_mb", sa.BigInteger(), nullable=True),
        sa.Column("gpu_health", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
    )
    op.create_table(
        "wireguard_peers",
        sa.Column("node_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_wireguard_peers_agent_id_agents"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_wireguard_peers")),
        sa.UniqueConstraint("agent_id", name=op.f("uq_wireguard_peers_agent_id")),
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_table("wireguard_peers")
    op.drop_table("agents")
