"""Tokens in backups: what was revoked since the backup was taken stays revoked."""

from __future__ import annotations

from sqlalchemy import Connection, Table, select, update

from yoq_web.contributions.keeper import Keeper
from yoq_web.tokens.models import Token

TABLE: Table = Token.__table__  # type: ignore[assignment]  # SQLAlchemy types it as any FROM clause


class RevocationKeeper(Keeper):
    """Carries revocations over; a token that was made since the backup is not in it and ends with the restore."""

    def amend(self, current: Connection, new: Connection) -> list[str]:
        """Revoke the tokens that are revoked now."""
        notes: list[str] = []
        revoked = select(TABLE.c.secret_hash, TABLE.c.revoked_at).where(TABLE.c.revoked_at.is_not(None))
        for secret_hash, revoked_at in current.execute(revoked).all():
            changed = new.execute(
                update(TABLE)
                .where(TABLE.c.secret_hash == secret_hash, TABLE.c.revoked_at.is_(None))
                .values(revoked_at=revoked_at)
                .returning(TABLE.c.name)
            )
            notes += [f"the token {name} stays revoked" for name in changed.scalars()]
        return notes
