"""What is asked at every beat of the pulse, and by verification, is answered by a small index, however long the log."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.door import behind
from tests.support.retention import make_old_log
from yoq_audit.retention import announcements
from yoq_audit.verification.removed_places import ANNOUNCED

QUERIES = {
    "newest": str(announcements._NEWEST_PRUNING),
    "sealed": str(announcements._SEALED_PRUNING),
    "erasing": str(announcements._SEALED_ERASING),
    "believed": ANNOUNCED.replace("?", "700"),
}


@pytest.mark.parametrize("query", QUERIES)
def test_announcements_are_found_by_an_index(app: Flask, database_url: str, query: str) -> None:
    """The index over announcing entries leads; the log itself is not gone through."""
    make_old_log(app, 600)
    if database_url.startswith("sqlite"):
        rows = behind(database_url, "ANALYZE", f"EXPLAIN QUERY PLAN {QUERIES[query]}")
        plan = "\n".join(row["detail"] for row in rows)
        assert "SCAN e USING INDEX ix_audit_log_announcing" in plan.replace(" COVERING", ""), plan
    else:
        rows = behind(database_url, "ANALYZE", f"EXPLAIN {QUERIES[query]}")
        plan = "\n".join(row["QUERY PLAN"] for row in rows)
        assert "ix_audit_log_announcing" in plan, plan
