"""The tables of apps: releases, their rollouts, and what is assigned to the agents.

Revision core004, after core003.
"""

import sqlalchemy as sa
from alembic import op

revision = "core004"
down_revision = "core003"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "releases",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("manifest_hash", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("services", sa.Integer(), nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("crons", sa.Integer(), nullable=False),
        sa.Column("training_jobs", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_releases")),
        sa.UniqueConstraint("id", name=op.f("uq_releases_id")),
    )
    op.create_index("ix_releases_app_number", "releases", ["app", "number"])
    op.create_table(
        "apps",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("newest", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["newest"], ["releases.number"], name=op.f("fk_apps_newest_releases")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_apps")),
        sa.UniqueConstraint("newest", name=op.f("uq_apps_newest")),
    )
    op.create_table(
        "rollouts",
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("control", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["releases.number"], name=op.f("fk_rollouts_number_releases")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rollouts")),
    )
    op.create_index("ix_rollouts_app_status_number", "rollouts", ["app", "status", "number"])
    op.create_index("ix_rollouts_due_at", "rollouts", ["due_at"])
    op.create_table(
        "assignments",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=True),
        sa.Column("release", sa.BigInteger(), nullable=True),
        sa.Column("app", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("workload", sa.String(), nullable=True),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("cpu", sa.BigInteger(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("health_check", sa.String(), nullable=True),
        sa.Column("gpus", sa.BigInteger(), nullable=False),
        sa.Column("gpu_model", sa.String(), nullable=True),
        sa.Column("gpu_vram_mb", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("ranks", sa.Integer(), nullable=True),
        sa.Column("master", sa.String(), nullable=True),
        sa.Column("master_port", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_assignments_agent_id_agents"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_assignments")),
        sa.UniqueConstraint("id", name=op.f("uq_assignments_id")),
    )
    op.create_index("ix_assignments_agent_id_number", "assignments", ["agent_id", "number"])
    op.create_index("ix_assignments_app_workload", "assignments", ["app", "kind", "workload"])
    op.create_index("ix_assignments_replaced_by", "assignments", ["replaced_by"])


def downgrade() -> None:
    """Take this revision back."""
    for table in ("assignments", "rollouts", "apps", "releases"):
        op.drop_table(table)
