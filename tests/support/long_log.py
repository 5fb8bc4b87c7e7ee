"""A long log, made by a few statements: entries that nobody recorded, and a tree over them that is signed."""

from __future__ import annotations

import time
from itertools import repeat

from sqlalchemy import insert, text, update
from sqlalchemy.orm import Session

from yoq_audit.sealing import keys, sealer
from yoq_audit.storage.models import CHECKPOINTS, StoredTile
from yoq_audit.storage.tree import find_signed_tree, read_tile
from yoq_audit.tlog.hashes import HASH_SIZE
from yoq_audit.tlog.tile_writer import TileWriter
from yoq_audit.tlog.tiles import TILE
from yoq_web import db, unit_of_work, upsert

REAL = 4 * TILE
"""So many of the first entries are sealed as they should be; the hashes of the others are made up."""

ACTIONS = ("secret_set", "secret_list", "policy_add", "token_create", "app_apply", "agent_register", "secret_delete")
TARGETS = 15
"""So few that each has a page full of entries on a short log, too."""

AT_ONCE = 1_000_000
TREES = 100
"""About so many sizes of the tree are signed."""


def fill(entries: int, step_seconds: int = 60) -> None:
    """Store and seal so many entries in the application's empty log, one each `step_seconds`, the last one just now.

    PostgreSQL's statistics are left as they were of the first of them.
    """
    first_time = (int(time.time()) - entries * step_seconds) * 1_000_000
    step = step_seconds * 1_000_000
    real = min(entries, REAL)
    _insert_entries(1, real, first_time, step)
    sealer.seal(begin=True)
    if db.engine.dialect.name == "postgresql":
        with unit_of_work() as session:
            session.execute(text("ANALYZE"))
    if entries > real:
        _insert_entries(real + 1, entries, first_time, step)
        _seal(entries)


def _series(session: Session) -> str:
    if session.get_bind().dialect.name == "postgresql":
        return "generate_series(CAST(:first AS BIGINT), CAST(:last AS BIGINT)) AS s(n)"
    return "(WITH RECURSIVE r(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM r WHERE n < :last) SELECT n FROM r) AS s"


def _hex(number: str, width: int, session: Session) -> str:
    if session.get_bind().dialect.name == "postgresql":
        return f"lpad(to_hex(({number})::bigint), {width}, '0')"
    return f"printf('%0{width}x', {number})"


def _insert_entries(first: int, last: int, first_time: int, step: int) -> None:
    """Insert the entries with these ids: few actors, actions, targets and nodes, and some that are rare and old."""
    session = db.session()
    moment = f"({first_time} + n * CAST({step} AS BIGINT))"
    stamp, tail, long = _hex(f"{moment} / 1000", 12, session), _hex("n", 12, session), _hex("n", 32, session)
    actions = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(ACTIONS))
    columns = {
        "recorded_at": f"{moment} / 1000000",
        "actor": "CASE WHEN n <= 100 THEN 'founder' WHEN n % 4 = 0 THEN 'ci' ELSE 'api-token' END",
        "action": f"CASE n % {len(ACTIONS)} {actions} END",
        "target": f"CASE WHEN n <= 100 THEN 'job-' || (n % 10) || '/' || n ELSE 'app-' || (n % {TARGETS}) || '/a' END",
        "outcome": "CASE WHEN n % 16 = 0 THEN 'failed' ELSE 'ok' END",
        "event_id": f"substr({stamp}, 1, 8) || '-' || substr({stamp}, 9) || '-7000-8000-' || {tail}",
        "time": moment,
        "actor_kind": "'admin'",
        "request_id": long,
        "node": "'node-' || (n % 3)",
        "peer": "CASE WHEN n <= 100 THEN '192.0.2.1' ELSE '198.51.100.' || (n % 200) END",
        "details": """'{"bytes"\\:24,"reason"\\:"rotation"}'""",
        "version": "1",
        "nonce": long,
    }
    statement = text(
        f"INSERT INTO audit_log (id, {', '.join(columns)}) SELECT n, {', '.join(columns.values())} "
        f"FROM {_series(session)}"
    )
    for start in range(first, last + 1, AT_ONCE):
        with unit_of_work() as writing:
            writing.execute(statement, {"first": start, "last": min(start + AT_ONCE - 1, last)})
    if session.get_bind().dialect.name == "postgresql":
        with unit_of_work() as writing:
            writing.execute(text("SELECT setval('audit_log_id_seq', :last)"), {"last": last})


def _seal(last: int) -> None:
    """Give the entries behind those that are sealed their places, up to the id `last`, and sign trees over them."""
    session = db.session()
    key, newest = keys.read_signer(), find_signed_tree(session)
    assert key is not None
    assert newest is not None
    writer = TileWriter(newest.size, lambda tile: read_tile(session, tile))
    places = text(f"INSERT INTO audit_leaf (leaf_index, entry_id) SELECT n - 1, n FROM {_series(session)}")
    at_once = max(1000, last // TREES)
    for size in range(newest.size, last, at_once):
        end = min(size + at_once, last)
        full = writer.append(repeat(bytes(HASH_SIZE), end - size))
        tiles = [
            {"level": tile.level, "number": tile.index, "hashes": hashes} for tile, hashes in (*full, *writer.partials)
        ]
        note = keys.sign_checkpoint(end, writer.root, key)
        with unit_of_work() as writing:
            writing.execute(places, {"first": size + 1, "last": end})
            writing.execute(upsert(StoredTile, key=("level", "number"), update=("hashes",)), tiles)
            values = {"size": end, "root": writer.root, "last_entry": end, "horizon": 0, "sealed_at": 0}
            writing.execute(insert(CHECKPOINTS).values(values))
            writing.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.size == end).values(note=note))
    keys.keep_head(note, last, (key.verifier,))
