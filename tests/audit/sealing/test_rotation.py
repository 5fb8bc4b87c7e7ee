"""Rotation of the log's key: whatever cuts it off, one key follows the other, and an outsider finds the newest."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import output
from tests.support.door import behind
from tests.support.faults import Injected, failing_at
from tests.support.log_keys import LOG, follow, get_ids, list_signers, read_health, read_own_key, rotate
from tests.support.outsider import Log, check_proof, compute_root, hash_leaf, is_consistent, open_checkpoint
from tests.support.retention import make_old_log, prune, read_minimum
from tests.support.tampering import make_log, verify_log
from yoq_audit.sealing import keys, rotation, sealer
from yoq_audit.tlog.codec import decode_base64
from yoq_web import db

PATH = f"{LOG}/key/announcements"
TWO_DAYS = 2 * 86_400 * 1_000_000_000


def test_what_was_signed_before_still_verifies(app: Flask, api: Api, database_url: str) -> None:
    """Old proofs and checkpoints hold, old and new key sign the announcement, and an outsider follows the keys."""
    make_log(app, 3)
    first = api("GET", f"{LOG}/key").text.strip()
    event = api.entries()[-1]["event_id"]
    proof = api("GET", f"/v1/audit/entries/{event}/proof").text
    checkpoint = api("GET", f"{LOG}/checkpoint").text
    second = rotate(app)
    third = rotate(app)
    make_log(app, 2)
    assert api("GET", f"{LOG}/key").text.split() == output(app, "audit", "key").split() == [first, second, third]
    ids = get_ids(first, second, third)
    assert list_signers(database_url) == [ids[0], "+".join(ids[:2]), "+".join(ids[1:]), ids[2]]
    assert verify_log(app)["ok"]
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
    assert read_own_key(app).vkey != first
    entry = next(entry for entry in api.entries() if entry["action"] == "audit_key_rotate")
    assert (entry["outcome"], entry["target"], entry["details"]["previous"]) == ("ok", third, second)


@pytest.mark.parametrize("place", ["_announce", "seal", "promote_next", "drop_next"])
def test_a_rotation_cut_off_at_a_step(
    app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """Whatever the step, entries go on being sealed, the log verifies, and the next sealing or rotation finishes it."""
    make_log(app, 2)
    first = read_own_key(app).vkey

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
    make_log(app, 1)
    assert verify_log(app)["ok"]
    rotated = place != "_announce"
    assert (read_own_key(app).vkey != first) == rotated
    second = read_own_key(app).vkey if rotated else rotate(app)
    make_log(app, 1)
    assert read_own_key(app).vkey == second
    assert verify_log(app)["ok"]
    old, new = get_ids(first, second)
    assert set(list_signers(database_url)) == {old, f"{old}+{new}", new}
    assert len(behind(database_url, "SELECT * FROM audit_key")) == 2
    rotate(app)
    assert not (tmp_path / "log.key.next").exists()
    assert read_health(app) is None


def test_a_fault_at_any_statement_of_a_rotation(app: Flask, backend: str) -> None:
    """Whatever statement fails, the log goes on, with one key after the other, and holds."""
    make_log(app, 2)
    for number in range(1, 60, 1 if backend == "sqlite" else 5):
        with failing_at(app, number) as executed:
            try:
                rotate(app)
            except Injected:
                assert len(executed) >= number
        make_log(app, 1)
        if len(executed) < number:
            break
    else:
        pytest.fail("rotating never ended")
    assert verify_log(app)["ok"]
    assert read_health(app) is None
    with app.app_context():
        chain = keys.read_chain(db.session(), keys.read_signer())
    assert (chain.strangers, chain.missing, chain.forked) == ((), None, False)
    assert chain.keys[-1] == read_own_key(app).verifier


def test_keys_are_followed_after_their_entries_were_pruned(
    app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notes that both keys signed are served for ever: the entries that carried them go with their bundle."""
    make_log(app, 1)
    first = api("GET", f"{LOG}/key").text.strip()
    assert api("GET", PATH).json == []
    keys = [first, rotate(app), rotate(app)]
    notes = [entry["details"]["announcement"] for entry in api.entries() if entry["action"] == "audit_key_rotate"]
    assert api("GET", PATH).json == notes[::-1]
    make_old_log(app, 260)
    now = time.time_ns
    with monkeypatch.context() as later:
        later.setattr(time, "time_ns", lambda: now() + TWO_DAYS)
        assert prune(app) == read_minimum(api) == 256
    assert api("GET", "/v1/audit?action=audit_key_rotate").json == []
    key = first
    for announcement in api("GET", PATH).json or []:
        key = follow(announcement, key)
    assert key == keys[-1]
    assert open_checkpoint(api("GET", f"{LOG}/checkpoint").text, key).size == 264
    reader = api.token("audit:read")
    assert reader("GET", PATH).json == notes[::-1]
    assert api.token("secrets:read", name="other")("GET", PATH).status_code == 403


def test_a_plain_client_gets_past_a_rotation(app: Flask, api: Api) -> None:
    """Who knows one key, the tree and signed notes, and nothing of announcements, comes from key to key, even late."""
    make_log(app, 3)
    vkey = first = api("GET", f"{LOG}/key").text.strip()
    kept = open_checkpoint(api("GET", f"{LOG}/checkpoint").text, first)
    later = []
    for count in (4, 1):
        later.append(rotate(app))
        make_log(app, count)
    newest = api("GET", f"{LOG}/checkpoint").text
    with pytest.raises(AssertionError):
        open_checkpoint(newest, first)
    log = Log(lambda path: api("GET", f"{LOG}/{path}").data)
    size = int(newest.split("\n")[1])
    leaves = log.leaves(size)
    for place, leaf in enumerate(leaves):
        entry = json.loads(leaf)
        if entry["action"] == "audit_key_rotate":
            # The key before signed a tree that holds the entry; the key that the entry names signed the same.
            note = api("GET", f"{LOG}/checkpoint?size={place + 1}").text
            head = open_checkpoint(note, vkey)
            assert head.root == compute_root([hash_leaf(each) for each in leaves[: head.size]])
            vkey = entry["target"]
            assert open_checkpoint(note, vkey) == head
            path = api("GET", f"{LOG}/consistency?from={kept.size}&to={head.size}").json or {}
            hashes = [decode_base64(node) for node in path["hashes"]]
            assert is_consistent(kept.size, head.size, kept.root, head.root, hashes)
            kept = head
    assert vkey == later[-1]
    assert open_checkpoint(newest, vkey).root == compute_root([hash_leaf(each) for each in leaves])
