"""The log's signing key: rotated with announcement, believed by its chain only, finished after any crash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output
from tests.support.door import acting, behind
from tests.support.keys import Injected, failing_at
from tests.support.outsider import Log, check_proof, compute_root, hash_leaf, is_consistent, open_checkpoint
from tests.support.tampering import binary, fill, found, log_of, seal, verified
from yoq_audit.sealing import keys, rotation, sealer
from yoq_audit.sealing.key_chain import sign_announcement
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.encoding import decode_base64
from yoq_audit.tlog.note import Signer, sign
from yoq_web import db

LOG = "/v1/audit/log"


def rotate(app: Flask) -> str:
    """Rotate the key as the administrator; returns the new public one."""
    with acting(app):
        return rotation.rotate_key()


def signer(app: Flask) -> Signer:
    """This machine's key."""
    with app.app_context():
        key = keys.read_signer()
    assert key is not None
    return key


def notes(url: str) -> list[str]:
    """The id of the key that signed each checkpoint, by size."""
    rows = behind(url, "SELECT note FROM audit_checkpoint ORDER BY size")
    return [decode_base64(row["note"].split("\n")[-2].split(" ")[2])[:4].hex() for row in rows]


def ids(*vkeys: str) -> list[str]:
    """The ids of public keys."""
    return [vkey.split("+")[1] for vkey in vkeys]


def health(app: Flask) -> str | None:
    """What /health says of the log after one beat."""
    with app.app_context():
        sealer.try_to_seal()
    answer = app.test_client().get("/health").json or {}
    said: str | None = answer.get("plugins", {}).get("audit")
    return said


def follow(announcement: str, vkey: str) -> str:
    """An auditor who knows one key finds the next: by the public format alone, the old key's signature checked."""
    text, _, lines = announcement.rpartition("\n\n")
    name, heading, old, new = text.split("\n")
    assert (heading, old) == ("key rotation", vkey)
    blob = next(decode_base64(line.split(" ")[2]) for line in lines.splitlines() if ids(vkey)[0] in _id(line))
    public = decode_base64(vkey.split("+", 2)[2])[1:]
    Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], f"{text}\n".encode())
    assert new.startswith(f"{name}+")
    return new


def _id(line: str) -> str:
    return decode_base64(line.split(" ")[2])[:4].hex()


def test_what_was_signed_before_still_verifies(app: Flask, api: Api, database_url: str) -> None:
    """Old proofs and checkpoints hold, the old key signs the announcement last, and an outsider follows the keys."""
    log_of(app, 3)
    first = api("GET", f"{LOG}/key").text.strip()
    event = api.entries()[-1]["event_id"]
    proof = api("GET", f"/v1/audit/entries/{event}/proof").text
    checkpoint = api("GET", f"{LOG}/checkpoint").text
    second = rotate(app)
    third = rotate(app)
    log_of(app, 2)
    assert api("GET", f"{LOG}/key").text.split() == output(app, "audit", "key").split() == [first, second, third]
    assert notes(database_url) == ids(first, first, second, third)
    assert verified(app)["ok"]
    # The outsider: everything by HTTP, from the first key on.
    log = Log(lambda path: api("GET", f"{LOG}/{path}").data)
    new = open_checkpoint(api("GET", f"{LOG}/checkpoint").text, third)
    leaves = log.leaves(new.size)
    announced = [json.loads(leaf) for leaf in leaves if json.loads(leaf)["action"] == "audit_key_rotate"]
    assert [leaf["target"] for leaf in announced] == [second, third]
    key = first
    for leaf in announced:
        key = follow(leaf["details"]["announcement"], key)
    assert key == third
    assert compute_root([hash_leaf(leaf) for leaf in leaves]) == new.root
    old = open_checkpoint(checkpoint, first)
    path = api("GET", f"{LOG}/consistency?from={old.size}&to={new.size}").json or {}
    assert is_consistent(old.size, new.size, old.root, new.root, [decode_base64(node) for node in path["hashes"]])
    check_proof(proof, leaves[0], first)
    assert signer(app).vkey != first
    entry = next(entry for entry in api.entries() if entry["action"] == "audit_key_rotate")
    assert (entry["outcome"], entry["target"], entry["details"]["previous"]) == ("ok", third, second)


@pytest.mark.parametrize("place", ["_announce", "seal", "promote_next", "drop_next"])
def test_a_rotation_cut_off_at_a_step(
    app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """Whatever the step, entries go on being sealed, the log verifies, and the next sealing or rotation finishes it."""
    log_of(app, 2)
    first = signer(app).vkey

    def fail(*_arguments: object) -> None:
        raise Injected(place)

    def after_the_announcement(*_arguments: object, **_options: object) -> int:
        if keys.read_next_signer() is not None:
            raise Injected(place)
        return 0

    with monkeypatch.context() as patch:
        if place == "seal":
            patch.setattr(sealer, "seal", after_the_announcement)
        else:
            patch.setattr(rotation if place == "_announce" else keys, place, fail)
        with pytest.raises(Injected):
            rotate(app)
    log_of(app, 1)
    assert verified(app)["ok"]
    rotated = place != "_announce"
    assert (signer(app).vkey != first) == rotated
    second = signer(app).vkey if rotated else rotate(app)
    log_of(app, 1)
    assert signer(app).vkey == second
    assert verified(app)["ok"]
    assert set(notes(database_url)) == set(ids(first, second))
    assert len(behind(database_url, "SELECT * FROM audit_key")) == 2
    rotate(app)
    assert not (tmp_path / "log.key.next").exists()
    assert health(app) is None


def test_a_fault_at_any_statement_of_a_rotation(app: Flask, backend: str) -> None:
    """Whatever statement fails, the log goes on, with one key after the other, and holds."""
    log_of(app, 2)
    for number in range(1, 60, 1 if backend == "sqlite" else 5):
        with failing_at(app, number) as executed:
            try:
                rotate(app)
            except Injected:
                assert len(executed) >= number
        log_of(app, 1)
        if len(executed) < number:
            break
    else:
        pytest.fail("rotating never ended")
    assert verified(app)["ok"]
    assert health(app) is None
    with app.app_context():
        chain = keys.read_chain(db.session(), keys.read_signer())
    assert (chain.strangers, chain.missing, chain.forked) == ((), None, False)
    assert chain.keys[-1] == signer(app).verifier


def test_a_key_that_was_only_put_into_the_database(app: Flask, api: Api, database_url: str) -> None:
    """Neither by itself, nor with an announcement that the log's key did not sign, is a key believed or served."""
    log_of(app, 3)
    own = signer(app)
    forger, helper = Signer.generate(own.name), Signer.generate(own.name)
    forged = sign_announcement(helper, forger).replace(helper.vkey, own.vkey)
    for announcement in ("NULL", f"'{sign_announcement(helper, forger)}'", f"'{forged}'", "'nonsense'"):
        row = f"('{forger.vkey}', 1, {announcement})"
        behind(database_url, f"INSERT INTO audit_key (vkey, added_at, announcement) VALUES {row}")
        said = f"the key {own.name}+{forger.verifier.key_id.hex()} in the database is not this log's"
        assert found(app, "kind", "message") == [("key", said)]
        assert api("GET", f"{LOG}/key").text.split() == [own.vkey]
        log_of(app, 1)
        assert set(notes(database_url)) == set(ids(own.vkey))
        behind(database_url, f"DELETE FROM audit_key WHERE vkey = '{forger.vkey}'")
    assert verified(app)["ok"]


def test_a_replaced_key_signs_no_more(app: Flask, database_url: str) -> None:
    """A checkpoint that the old key signed after the new one began is told, and one of the new key before it."""
    log_of(app, 3)
    old = signer(app)
    rotate(app)
    log_of(app, 2, 2)
    new = signer(app)
    for size, key, said in ((8, old, "which was replaced before"), (3, new, "which was not announced")):
        row = behind(database_url, f"SELECT root, note FROM audit_checkpoint WHERE size = {size}")[0]
        note = sign(Checkpoint(key.name, size, bytes(row["root"])).text, key)
        behind(database_url, f"UPDATE audit_checkpoint SET note = '{note}' WHERE size = {size}")
        messages = [message for (message,) in found(app, "message")]
        assert any(f"checkpoint of size {size} signed by" in message and said in message for message in messages)
        behind(database_url, f"UPDATE audit_checkpoint SET note = '{row['note']}' WHERE size = {size}")
    assert verified(app)["ok"]
    behind(database_url, f"DELETE FROM audit_key WHERE vkey = '{old.vkey}'")
    kinds = found(app, "kind", "message")
    assert ("key", f"this log's key {old.name}+{old.verifier.key_id.hex()} is not in the database") in kinds


def test_a_machine_with_the_old_key_stops(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """It seals nothing and /health says what to copy; with the new files it goes on."""
    here = make_app()
    log_of(here, 2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (keys.KEY_FILE, keys.HEAD_FILE):
        shutil.copy(tmp_path / name, elsewhere / name)
    there = make_app(YOQ_DATA_DIR=str(elsewhere), YOQ_NODE="node-2")
    log_of(there, 1)
    rotate(here)
    fill(there, 1)
    said = health(there)
    assert said is not None
    assert "log.key was replaced by" in said
    assert "copy log.key and log.head" in said
    assert [row["size"] for row in behind(database_url, "SELECT size FROM audit_checkpoint")] == [2, 3, 4]
    assert verified(there)["ok"]
    assert Api(there)("GET", f"{LOG}/checkpoint").status_code == 200
    assert failure(there, "audit", "key", "rotate").startswith("this machine does not sign the log")
    seal(here)
    for name in (keys.KEY_FILE, keys.HEAD_FILE):
        shutil.copy(tmp_path / name, elsewhere / name)
    assert health(there) is None
    log_of(there, 2)
    assert verified(here)["ok"]
    assert verified(there)["ok"]


def test_a_database_with_another_key_is_not_believed(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Where this machine's key is not among the database's, that is told, and theirs are not believed, head or not."""
    log_of(app, 3)
    own = signer(app)
    forger = Signer.generate(own.name)
    for row in behind(database_url, "SELECT size, root FROM audit_checkpoint"):
        note = sign(Checkpoint(own.name, row["size"], bytes(row["root"])).text, forger)
        behind(database_url, f"UPDATE audit_checkpoint SET note = '{note}' WHERE size = {row['size']}")
    behind(database_url, f"UPDATE audit_key SET vkey = '{forger.vkey}'")
    (tmp_path / keys.HEAD_FILE).unlink()
    messages = [message for (message,) in found(app, "message")]
    assert f"the key {own.name}+{forger.verifier.key_id.hex()} in the database is not this log's" in messages
    assert f"this machine's key {own.name}+{own.verifier.key_id.hex()} is not in the database" in messages
    assert "checkpoint of size 3 signed by an unknown key" in messages
    assert "log.key is not the log's key" in (health(app) or "")
    assert Api(app)("GET", f"{LOG}/key").status_code == 503


def test_a_missing_head_is_told_and_can_be_taken_anew(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Without the head nothing is signed, verify and /health say so, until the log is verified and taken as it is."""
    log_of(app, 3)
    (tmp_path / keys.HEAD_FILE).unlink()
    assert "log.head is missing" in (health(app) or "")
    assert found(app, "kind") == [("head",)]
    fill(app, 1)
    assert "log.head is missing" in (health(app) or "")
    assert len(notes(database_url)) == 1
    assert Api(app)("GET", f"{LOG}/checkpoint").status_code == 503
    root = behind(database_url, "SELECT root FROM audit_checkpoint")[0]["root"]
    for value in (bytes(32), root):
        behind(database_url, f"UPDATE audit_checkpoint SET root = {binary(database_url, value)}")
        if value != root:
            assert failure(app, "audit", "accept-head").startswith("the log does not hold")
    assert output(app, "audit", "accept-head") == "the log of 3 entries is taken as it is\n"
    assert failure(app, "audit", "accept-head").startswith("log.head is there")
    assert health(app) is None
    assert verified(app)["ok"]
    assert "audit_head_accept" in [entry["action"] for entry in Api(app).entries(3)]


def test_a_log_has_a_head_from_its_beginning(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the first signature and the first head is no missing head; nor is a key that waits a lost one."""

    def fail(*_arguments: object) -> None:
        raise Injected

    fill(app, 2)
    for place in ("promote_next", "keep_head"):
        with monkeypatch.context() as patch:
            patch.setattr(keys, place, fail)
            with pytest.raises(Injected):
                seal(app)
    log_of(app, 1)
    assert not (tmp_path / keys.NEXT_FILE).exists()
    assert health(app) is None
    assert verified(app)["size"] == 3
