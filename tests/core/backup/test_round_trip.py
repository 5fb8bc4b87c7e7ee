"""A backup brings everything back, and the trail is not taken back with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from tests.audit.proofs.test_proofs import check
from tests.conftest import Api, MakeApp
from tests.support.audit_tables import TABLES, make_full_log, read_all
from tests.support.backup import alone, backup, content, holds, names, restore, some_of_everything, trail, url_of
from tests.support.commandline import failure, output, run
from tests.support.door import behind
from tests.support.migrations import BOXES, ITEMS, things
from yoq_web.database.migrations import upgrade


def test_a_round_trip(make_app: MakeApp, tmp_path: Path) -> None:
    """Every row of every domain and of a plugin's tables is as it was, sequences go on, and secrets can be read."""
    plugin = things(tmp_path, BOXES, ITEMS)
    app = make_app(plugin)
    with app.app_context():
        upgrade()
    url = url_of(app)
    behind(url, "INSERT INTO things_boxes (id) VALUES (1), (2)", "INSERT INTO things_items (id, box) VALUES (1, 2)")
    shop = some_of_everything(lambda **settings: make_app(plugin, **settings))
    before = content(shop.app)
    path = backup(shop.app, tmp_path / "b.yoqbackup")
    assert path.stat().st_mode & 0o777 == 0o600
    behind(url, "DELETE FROM things_items", "DELETE FROM things_boxes", "INSERT INTO things_boxes (id) VALUES (9)")
    for name in ("db", "new"):
        shop.operator("POST", "/v1/secrets", json={"name": name, "value": "changed"})
    shop.operator("DELETE", "/v1/policies/web/db")
    shop.operator("DELETE", "/v1/tokens/reader")
    changed = content(shop.app)
    verified = output(shop.app, "restore", str(path), "--verify")
    assert verified.endswith("the backup can be restored; nothing was changed\n")
    assert content(shop.app) == changed
    alone(app)
    said = restore(shop.app, path)
    assert "the replaced database is kept: " in said
    # What was revoked stays so.
    assert "the token reader stays revoked" in said
    after = content(shop.app)
    assert after.pop("tokens") != before.pop("tokens")
    assert after == before
    assert output(shop.app, "secret", "get", "db") == "db-value\n"
    for name in ("policies", "secrets"):
        assert behind(url, f"SELECT count(*) AS n FROM {name}")[0]["n"] == len(before[name])
    assert (
        shop.operator("POST", "/v1/policies", json={"source": "a", "target": "b", "action": "deny"}).status_code == 200
    )
    assert holds(shop.app)


def test_a_trail_with_gaps_stays(app: Flask, database_url: str, tmp_path: Path) -> None:
    """What was pruned and erased is carried over as it is, and nothing of the trail can be changed afterwards."""
    make_full_log(app)
    path = backup(app, tmp_path / "b.yoqbackup")
    before = read_all(database_url)
    restore(app, path)
    after = read_all(database_url)
    assert all(set(before[name]) <= set(after[name]) for name in TABLES if name != "audit_tile")
    for table in TABLES:
        with pytest.raises(DBAPIError, match=f"{table} is append-only"):
            behind(database_url, f"DELETE FROM {table}")
    assert holds(app)


def test_the_trail_is_not_taken_back(app: Flask, api: Api, tmp_path: Path) -> None:
    """Ten operations, a backup, ten more, a restore: the state is the backup's, the trail has them all, proofs hold."""
    for number in range(10):
        api("POST", "/v1/secrets", json={"name": f"early{number}", "value": "v"})
    path = backup(app, tmp_path / "b.yoqbackup")
    for number in range(10):
        last = api("POST", "/v1/secrets", json={"name": f"late{number}", "value": "v"}).headers["Audit-Id"]
    proof, entry = tmp_path / "p", tmp_path / "e"
    output(app, "audit", "prove", last, "-o", str(proof), "--entry", str(entry))
    key = output(app, "audit", "key").strip()
    restore(app, path)
    assert names(api) == [f"early{number}" for number in range(10)]
    sets = [target for action, target, _ in trail(app) if action == "secret_set"]
    assert sets == [f"early{number}" for number in range(10)] + [f"late{number}" for number in range(10)]
    ended = [(action, target) for action, target, outcome in trail(app) if outcome == "ok"]
    assert ended[-2:] == [("restore", str(path)), ("secret_list", None)]
    assert ("backup", str(path)) in ended
    assert holds(app)
    assert check(proof, entry, key)[0] == 0
    assert check_newer(app, last, tmp_path, key) == 0
    details = next(found["details"] for found in api.entries() if found["action"] == "restore")
    taken = next(found["details"] for found in api.entries() if found["action"] == "backup")
    assert details["marks"] == taken["marks"]
    assert details["marks"][0] == "audit size 11"
    assert details["trail"] == ["secrets backup", "tokens backup", "audit current"]
    # And once more, with the backup that is older still.
    restore(app, path, "--no-keep")
    assert holds(app)
    assert [action for action, _, outcome in trail(app) if outcome == "ok"].count("restore") == 2


def check_newer(app: Flask, event: str, folder: Path, key: str) -> int:
    """What `check-proof` says of a proof that is made now."""
    output(app, "audit", "prove", event, "-o", str(folder / "newer"), "--entry", str(folder / "entry"))
    return check(folder / "newer", folder / "entry", key)[0]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_how_a_backup_is_sealed(app: Flask, tmp_path: Path) -> None:
    """Each way to seal a backup opens with its own key and no other; a plain one has no keys in it."""
    from yoq_web.backup import age  # noqa: PLC0415 - a key for the test

    secret = tmp_path / "pass"
    secret.write_text("correct horse\n")
    wrong = tmp_path / "wrong"
    wrong.write_text("battery\n")
    identity = tmp_path / "identity"
    identity.write_text(age.make_identity())
    other = tmp_path / "other"
    other.write_text(age.make_identity())
    output(app, "secret", "set", "a", "--value", "v")
    own = backup(app, tmp_path / "own")
    passed = backup(app, tmp_path / "passed", "--passphrase-file", str(secret))
    sealed = backup(app, tmp_path / "sealed", "--recipient", age.derive_recipient(identity.read_text()))
    plain = backup(app, tmp_path / "plain", "--plain")
    opened: list[tuple[Path, tuple[str, ...]]] = [
        (own, ()),
        (own, ("--identity", str(tmp_path / "backup.key"))),
        (passed, ("--passphrase-file", str(secret))),
        (sealed, ("--identity", str(identity))),
        (plain, ()),
    ]
    for path, arguments in opened:
        assert "can be restored" in output(app, "restore", str(path), "--verify", *arguments)
    for path, arguments, reason in (
        (own, ("--identity", str(other)), "it is encrypted for another key"),
        (sealed, (), "it is encrypted for another key"),
        (passed, (), "give --passphrase-file"),
        (passed, ("--passphrase-file", str(wrong)), "the passphrase is wrong"),
        (tmp_path / "pass", (), "it is not a backup of yoq-web"),
        (tmp_path / "nothing", (), "No such file"),
    ):
        assert reason in failure(app, "restore", str(path), "--verify", *arguments)
    for arguments in (("--plain", "--with-keys"), ("--plain", "--recipient", "age1x"), ("--recipient", "age1x")):
        assert failure(app, "backup", "--output", str(tmp_path / "no"), *arguments)
    assert not (tmp_path / "no").exists()
    assert (tmp_path / "backup.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_a_command_says(app: Flask, tmp_path: Path) -> None:
    """`backup` reminds of the keys and describes itself as JSON; `restore` asks for a typed word."""
    output(app, "secret", "set", "a", "--value", "v")
    path = tmp_path / "b"
    said = run(app, "backup", "--output", str(path)).stderr
    assert "Keep a copy of that file on another machine" in said
    assert "Keep copies of secrets.key and log.key" in said
    document = json.loads(run(app, "backup", "--output", str(path), "--json", "--overwrite").stdout)
    manifest = document["manifest"]
    assert (document["path"], document["size"]) == (str(path), path.stat().st_size)
    assert (manifest["node"], manifest["database"], manifest["rows"]["secrets"]) == ("node-1", "sqlite", 1)
    assert manifest["marks"]["audit"]["size"] == manifest["rows"]["audit_leaf"]
    output(app, "secret", "rm", "a")
    alone(app)
    for answer in ("", "yes\n"):
        assert run(app, "restore", str(path), stdin=answer).exit_code == 1
    assert output(app, "secret", "list") == "no secrets\n"
    assert run(app, "restore", str(path), stdin="restore\n").exit_code == 0
    assert output(app, "secret", "list") == "a\n"
    assert [action for action, _, _ in trail(app)].count("restore") == 2
