"""The sealer: every committed entry gets its place, whatever fails in between, and no size two roots."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import PoolProxiedConnection, event

from tests.conftest import MakeApp
from tests.support.door import behind
from tests.support.faults import Injected, failing_at
from tests.support.served import Served, command
from tests.support.tampering import add_entries, attack, seal
from tests.support.trail import make_engine
from yoq_audit.sealing import edge, keys, sealer, signer
from yoq_audit.storage import tree
from yoq_audit.tlog.leaf import FIELDS, encode_leaf
from yoq_audit.tlog.note import Signer
from yoq_web import db

PLACES = "SELECT leaf_index, entry_id FROM audit_leaf ORDER BY leaf_index"
CHECKPOINTS = "SELECT size, root, note FROM audit_checkpoint ORDER BY size"


def naive_root(leaves: list[bytes]) -> bytes:
    """The root by RFC 6962's definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + naive_root(leaves[:half]) + naive_root(leaves[half:])).digest()


def stored_leaves(url: str) -> list[bytes]:
    """The leaves of the sealed entries in their order, from the stored columns."""
    columns = ", ".join(f"e.{name}" for name in FIELDS)
    joined = "audit_leaf l JOIN audit_log e ON e.id = l.entry_id ORDER BY l.leaf_index"
    rows = behind(url, f"SELECT l.leaf_index, {columns} FROM {joined}")
    assert [row["leaf_index"] for row in rows] == list(range(len(rows)))
    return [encode_leaf([row[name] for name in FIELDS]) for row in rows]


def assert_sealed(url: str, count: int) -> None:
    """All entries are sealed, once, and every checkpoint's root is that of the leaves."""
    leaves = stored_leaves(url)
    assert len(leaves) == count == behind(url, "SELECT count(*) AS n FROM audit_log")[0]["n"]
    for row in behind(url, CHECKPOINTS):
        assert bytes(row["root"]) == naive_root(leaves[: row["size"]])


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[bytes]]:
    """Every root that is signed, by size."""
    roots: dict[int, set[bytes]] = {}
    sign = keys.sign_checkpoint

    def note(size: int, root: bytes, key: Signer) -> str:
        roots.setdefault(size, set()).add(root)
        return sign(size, root, key)

    monkeypatch.setattr(keys, "sign_checkpoint", note)
    return roots


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_every_committed_entry_gets_its_place(app: Flask, database_url: str, count: int) -> None:
    """Indexes are consecutive, the root is that of the leaves, and sealing again adds nothing."""
    add_entries(app, count)
    assert seal(app) == count
    assert seal(app) == 0
    assert_sealed(database_url, count)


def test_a_backlog_is_sealed_in_bounded_batches(app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction seals more than a batch, so that none holds the write lock for long."""
    monkeypatch.setattr(edge, "BATCH", 10)
    add_entries(app, 35)
    assert seal(app) == 35
    assert [row["size"] for row in behind(database_url, CHECKPOINTS)] == [10, 20, 30, 35]
    assert_sealed(database_url, 35)


def test_a_fault_at_any_statement_costs_nothing(app: Flask, database_url: str, signed: dict[int, set[bytes]]) -> None:
    """Whatever statement fails, the next sealing goes on from there, and no size was signed with two roots."""
    count = 0
    for number in range(1, 100):
        add_entries(app, 3)
        count += 3
        with failing_at(app, number) as executed:
            try:
                seal(app)
            except Injected:
                continue
        assert len(executed) < number
        break
    else:
        pytest.fail("sealing never ended")
    seal(app)
    assert_sealed(database_url, count)
    assert all(len(roots) == 1 for roots in signed.values())


@pytest.mark.parametrize("step", ["commit", "keep_head"])
def test_a_crash_around_the_commit_costs_nothing(
    app: Flask, database_url: str, signed: dict[int, set[bytes]], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A commit that fails leaves nothing signed for its size; one whose head was not kept is signed the same again."""

    def fail(*_arguments: object) -> None:
        raise Injected(step)

    add_entries(app, 5)
    with monkeypatch.context() as patch:
        if step == "keep_head":
            patch.setattr(keys, "keep_head", fail)
        else:
            with app.app_context():
                event.listen(db.engine, "commit", fail)
        with pytest.raises(Injected):
            seal(app)
        if step == "commit":
            with app.app_context():
                event.remove(db.engine, "commit", fail)
    add_entries(app, 4)
    seal(app)
    assert_sealed(database_url, 9)
    assert all(len(roots) == 1 for roots in signed.values())


def test_many_sealers_take_turns(make_app: MakeApp, database_url: str) -> None:
    """Sealers of several applications, while others write, give each entry one place."""
    apps = [make_app() for _ in range(3)]
    seal(apps[0])
    stop = threading.Event()
    errors: list[BaseException] = []

    def work(app: Flask) -> None:
        try:
            while not stop.is_set():
                seal(app)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for app in apps:
        add_entries(app, 40)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    seal(apps[0])
    assert_sealed(database_url, 120)


def begin_late_entry(url: str) -> PoolProxiedConnection:
    """Store an entry as somebody else who has not committed it yet."""
    late = make_engine(url).raw_connection()
    columns = ", ".join(name for name in FIELDS if name != "event_id")
    late.cursor().execute(
        f"INSERT INTO audit_log (event_id, recorded_at, {columns}) "
        f"SELECT 'late', recorded_at, {columns} FROM audit_log ORDER BY id LIMIT 1"
    )
    return late


@pytest.mark.parametrize("backend", ["postgresql"])
def test_an_entry_that_commits_late_is_sealed(app: Flask, database_url: str) -> None:
    """On PostgreSQL an entry may commit after others with higher ids are sealed already; it is not overlooked."""
    add_entries(app, 2)
    late = begin_late_entry(database_url)
    add_entries(app, 2)
    assert seal(app) == 4
    late.commit()
    late.close()
    add_entries(app, 1)
    assert seal(app) == 2
    assert_sealed(database_url, 6)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_an_entry_that_commits_after_a_standstill_is_sealed(
    app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that began before others were sealed and is committed minutes later, as when the server was frozen."""
    add_entries(app, 2)
    seal(app)
    late = begin_late_entry(database_url)
    add_entries(app, 2)
    assert seal(app) == 2
    monkeypatch.setattr(tree, "SLACK_SECONDS", -60)  # a minute is over
    assert seal(app) == 0
    late.commit()
    late.close()
    assert seal(app) == 1
    assert_sealed(database_url, 5)
    add_entries(app, 1)
    assert seal(app) == 1
    assert_sealed(database_url, 6)


def test_a_database_that_was_cut_back_is_not_signed(
    app: Flask, database_url: str, signed: dict[int, set[bytes]]
) -> None:
    """Where the database is no extension of the head kept outside, nothing is signed."""
    add_entries(app, 5)
    seal(app)
    attack(database_url, "DELETE FROM audit_checkpoint", "DELETE FROM audit_leaf", "DELETE FROM audit_tile")
    add_entries(app, 5)
    with pytest.raises(signer.Rewound, match="5 were sealed"):
        seal(app)
    assert signed.keys() == {0, 5}


def test_health_says_why_nothing_is_sealed(app: Flask, database_url: str) -> None:
    """A rewound database is noticed at the first beat, though nothing is due, told in /health, and mended in time."""
    add_entries(app, 5)
    seal(app)
    kept = behind(database_url, CHECKPOINTS)
    attack(database_url, "UPDATE audit_checkpoint SET size = 4")
    with app.app_context():
        sealer.try_to_seal()
    health = app.test_client().get("/health").json
    assert health is not None
    assert health["status"] == "degraded"
    assert health["plugins"]["audit"].startswith("nothing is sealed: the log has 4 sealed entries, but 5")
    attack(database_url, f"UPDATE audit_checkpoint SET size = {kept[0]['size']}")
    with app.app_context():
        sealer.try_to_seal()
    assert app.test_client().get("/health").json == {"status": "ok"}


def test_a_database_with_another_past_is_not_signed(app: Flask, database_url: str) -> None:
    """A tree that is as long but another one is no extension either."""
    add_entries(app, 5)
    seal(app)
    zeros = "zeroblob(32)" if database_url.startswith("sqlite") else "decode(repeat('00', 32), 'hex')"
    attack(database_url, f"UPDATE audit_checkpoint SET root = {zeros}")
    add_entries(app, 1)
    with pytest.raises(signer.Rewound, match="not those"):
        seal(app)


def test_a_machine_without_the_key_does_not_seal(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Of several machines only those that hold the log's key sign it; the others leave it alone and make none."""
    here = make_app()
    add_entries(here, 2)
    seal(here)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = make_app(YOQ_DATA_DIR=str(tmp_path / "elsewhere"))
    add_entries(elsewhere, 3)
    assert seal(elsewhere) == 0
    assert not (tmp_path / "elsewhere" / keys.KEY_FILE).exists()
    assert seal(here) == 3
    assert_sealed(database_url, 5)


@pytest.mark.program
def test_a_served_program_seals_by_itself(served: Served, database_url: str) -> None:
    """What was answered is sealed and signed soon after, without being asked."""
    assert served("POST", "/v1/secrets", json={"name": "db", "value": "hunter2"}).status_code == 200
    deadline = time.monotonic() + 20
    while not any(row["note"] for row in behind(database_url, CHECKPOINTS)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert_sealed(database_url, 1)


@pytest.mark.program
def test_a_command_seals_at_its_end(database_url: str, tmp_path: Path) -> None:
    """What a command recorded is sealed when it ends."""
    done = command(tmp_path, "policy", "deny", "web", "db", YOQ_DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["size"] for row in behind(database_url, CHECKPOINTS) if row["note"]] == [1]
    assert_sealed(database_url, 1)
