"""Notices: what everybody who runs the cluster should know. A plugin for yoq-web."""

from sqlalchemy import Column, Integer, Table, Text, insert, select
from yoq_web import Contribution, Name, Resource, db, hookimpl, metadata

notices = Resource("notices", __name__)
rows = Table("notices_notices", metadata, Column("id", Integer, primary_key=True), Column("text", Text, nullable=False))


@notices.operation("notices_post", "POST /v1/notices")
def post_notice(text: Name) -> None:
    """Post a notice."""
    db.session.execute(insert(rows).values(text=text))


@notices.reading("GET /v1/notices")
def list_notices() -> list[str]:
    """List the notices, the oldest first."""
    return list(db.session.scalars(select(rows.c.text).order_by(rows.c.id)))


@hookimpl
def yoq_contribute() -> Contribution:
    """Add the notices to yoq-web."""
    return notices.contribution()
