"""What pruning costs on PostgreSQL: bundle by bundle as it is done, and as dropping a partition would.

    python -m benchmarks.pruning [ENTRIES]

Prints seconds and megabytes of one run; only their ratio means anything. Both tables have the same rows and indexes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from tests.support import postgres as postgres_server
from yoq_audit.retention import pruner
from yoq_audit.storage.models import PRUNED
from yoq_audit.tlog.tiles import TILE
from yoq_web import create_app, db
from yoq_web.database.migrations import upgrade
from yoq_web.database.rights import allow_commits

COLUMNS = (
    "id, event_id, recorded_at, time, actor, actor_kind, action, target, outcome, reason, request_id, node, peer, "
    "details, version, nonce"
)
ROWS = """
INSERT INTO audit_log ({columns})
SELECT n, gen_random_uuid()::text, 1700000000 + n, (1700000000 + n) * 1000000::bigint, 'actor' || n % 50, 'token',
       (ARRAY['secret_set', 'policy_add', 'app_apply', 'token_create'])[1 + n % 4], 'target-' || n % 5000, 'ok', NULL,
       md5(n::text), 'node-' || n % 3, '192.0.2.' || n % 250, '{{"version": ' || n || '}}', 1, md5(n::text)
FROM generate_series(1, {count}) n"""


def main(count: int) -> None:
    """Measure and print."""
    count -= count % TILE
    with postgres_server.running() as server, tempfile.TemporaryDirectory() as folder:
        app = create_app({"YOQ_DATA_DIR": folder, "YOQ_DATABASE_URL": server.url(server.create())})
        with app.app_context():
            upgrade()
            _fill(count)
            full = _size("audit_log")
            by_batch = _timed(lambda: _delete_all(count))
            _run("VACUUM audit_log", "VACUUM audit_leaf")
            after = _size("audit_log")
            dropped = _timed(lambda: _run("DROP TABLE copy_old"))
            db.session.remove()
            db.engine.dispose()
    print(f"{count} entries, {full / 1e6:.0f} MB with indexes")
    print(f"deleted by bundles of {TILE}: {by_batch:.1f} s, {count / by_batch:.0f} entries/s")
    print(f"size after VACUUM: {after / 1e6:.0f} MB")
    print(f"dropped as a partition: {dropped:.3f} s, {by_batch / dropped:.0f} times as fast")


def _fill(count: int) -> None:
    _run(
        ROWS.format(columns=COLUMNS, count=count),
        f"INSERT INTO audit_leaf (leaf_index, entry_id) SELECT n - 1, n FROM generate_series(1, {count}) n",  # noqa: S608 - a number
        "CREATE TABLE copy (LIKE audit_log INCLUDING DEFAULTS) PARTITION BY RANGE (time)",
        "CREATE TABLE copy_old (LIKE audit_log INCLUDING ALL)",
        f"INSERT INTO copy_old ({COLUMNS}) SELECT {COLUMNS} FROM audit_log",  # noqa: S608 - our own names
        f"ALTER TABLE copy ATTACH PARTITION copy_old FOR VALUES FROM (0) TO ({2**61})",
        # As if announced: what is measured is the deleting.
        "ALTER TABLE audit_minimum DISABLE TRIGGER USER",
        f"INSERT INTO audit_minimum (minimum, event_id, cutoff) VALUES ({count}, 'measured', {2**61})",  # noqa: S608 - numbers
        "ANALYZE",
    )


def _delete_all(count: int) -> None:
    pruner.complete_removals()
    if db.session.execute(PRUNED.select()).fetchall()[-1].number != count // TILE - 1:
        raise RuntimeError("not all was deleted")


def _run(*statements: str) -> None:
    db.session.rollback()
    connection = db.engine.raw_connection()
    driver: Any = connection.driver_connection
    driver.autocommit = True
    for statement in statements:
        driver.execute(statement)
    driver.autocommit = False
    connection.close()


def _size(table: str) -> int:
    with db.engine.connect() as connection, allow_commits():
        return int(connection.scalar(text(f"SELECT pg_total_relation_size('{table}')")) or 0)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
