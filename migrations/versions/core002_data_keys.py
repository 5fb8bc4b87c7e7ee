"""The secrets' data keys, wrapped by a master key; each secret refers to its own.

Revision core002, after core001.
"""

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError

revision = "core002"
down_revision = "core001"
branch_labels = None
depends_on = None

FOREIGN_KEY = "fk_secrets_key_id_secret_keys"
UNREADABLE = """
SELECT count(*) FROM secrets JOIN secret_keys ON secret_keys.id = secrets.key_id
 WHERE secret_keys.master <> secret_keys.id
"""


def secrets(*constraints: sa.Constraint) -> sa.Table:
    """The table of secrets, so that SQLite's copy of it needs no look into a database."""
    return sa.Table(
        "secrets",
        sa.MetaData(),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
        *constraints,
    )


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "secret_keys",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("master", sa.String(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_secret_keys")),
        sa.UniqueConstraint("id", name=op.f("uq_secret_keys_id")),
    )
    # Until now the key file was the data key itself: it is wrapped when it is used next.
    op.execute(
        "INSERT INTO secret_keys (id, master, created_at) "
        "SELECT key_id, key_id, min(created_at) FROM secrets GROUP BY key_id ORDER BY min(created_at)"
    )
    with op.batch_alter_table("secrets", copy_from=secrets()) as batch:
        batch.create_foreign_key(op.f(FOREIGN_KEY), "secret_keys", ["key_id"], ["id"])


def downgrade() -> None:
    """Take this revision back. The older software needs the key file to be the data key itself."""
    if not context.is_offline_mode() and (lost := op.get_bind().scalar(sa.text(UNREADABLE))):
        raise CommandError(
            f"the older version cannot read {lost} of the secrets: their key is not the file secrets.key itself. "
            "Remove them first, or go back by a backup"
        )
    reference = sa.ForeignKeyConstraint(["key_id"], ["secret_keys.id"], name=op.f(FOREIGN_KEY))
    with op.batch_alter_table("secrets", copy_from=secrets(reference)) as batch:
        batch.drop_constraint(op.f(FOREIGN_KEY), type_="foreignkey")
    op.drop_table("secret_keys")
