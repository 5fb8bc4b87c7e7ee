"""What the tests of plugins' migrations share: plugins with chains of revisions."""

from __future__ import annotations

from pathlib import Path

from tests.support.plugins import Made, contributing
from yoq_web.database.migrations import list_standings

REVISION = '''"""A revision of a test."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = {revision!r}, {after!r}, None, None
def upgrade():
    {upgrade}
def downgrade():
    pass
'''

BOXES = "op.create_table('things_boxes', sa.Column('id', sa.Integer(), primary_key=True))"
ITEMS = """op.create_table('things_items', sa.Column('id', sa.Integer(), primary_key=True),
        sa.Column('box', sa.Integer(), sa.ForeignKey('things_boxes.id', ondelete='CASCADE')))"""


def things(folder: Path, *upgrades: str) -> Made:
    """A plugin `things` with a chain of revisions, each doing one of `upgrades`."""
    versions = folder / "things' folder, with: 100% odd name"
    versions.mkdir(exist_ok=True)
    for number, body in enumerate(upgrades):
        after = f"things{number - 1}" if number else None
        source = REVISION.format(revision=f"things{number}", after=after, upgrade=body)
        (versions / f"things{number}.py").write_text(source)
    return contributing("things", migrations=versions)


def standing(name: str) -> str | None:
    """A lineage's revision in the database."""
    return next(found.current for found in list_standings() if found.lineage.name == name)


def other(folder: Path) -> Path:
    """A second chain of migrations, of a plugin `worlds`."""
    versions = folder / "worlds"
    versions.mkdir()
    table = "op.create_table('worlds_worlds', sa.Column('id', sa.Integer()))"
    (versions / "worlds0.py").write_text(REVISION.format(revision="worlds0", after=None, upgrade=table))
    return versions
