"""Statements that are built once and run many times: building one costs several times as much as running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Dialect, Row, Select
from sqlalchemy.orm import Session


class Prepared:
    """A statement for the driver: its text, and the values that it was built with. Others are given when it is run."""

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        self._fixed, self._order = dict(compiled.params), compiled.positiontup

    def bind(self, values: dict[str, int]) -> Any:
        """Return all values in the form that the driver takes; those that the statement does not have are left out."""
        named = self._fixed | values
        return tuple([named[name] for name in self._order]) if self._order is not None else named

    def fetch_all(self, session: Session, values: dict[str, int]) -> Sequence[Row[Any]]:
        """Run it in a session's transaction, and fetch every row."""
        return session.connection().exec_driver_sql(self.text, self.bind(values)).all()
