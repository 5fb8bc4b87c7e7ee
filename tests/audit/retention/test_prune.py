"""Pruning: what is old goes, whole bundles at a time, and everything that was ever signed still holds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output, run
from tests.support.door import acting, behind
from tests.support.outsider import check_proof, is_consistent, open_checkpoint
from tests.support.retention import (
    count_entries,
    hand_over,
    make_old_event,
    make_old_log,
    prune,
    read_minimum,
    read_vkey,
    store,
)
from tests.support.tampering import add_entries, attack, seal, verify_log
from yoq_audit.proofs.entry_leaf import make_leaf
from yoq_audit.retention import plan, pruner, schedule
from yoq_audit.tlog.codec import decode_base64
from yoq_web import Problem, db
from yoq_web.policies.operations import add_policy


def test_old_bundles_go_and_what_was_signed_holds(app: Flask, api: Api, database_url: str) -> None:
    """Entries of whole old bundles are gone; old checkpoints, consistency, tiles and proofs are as they were."""
    ids = make_old_log(app, 600)
    vkey = read_vkey(api)
    old = open_checkpoint(api("GET", "/v1/audit/log/checkpoint").text, vkey)
    tiles = [api("GET", f"/v1/audit/log/tile/0/{place}").data for place in ("000", "001", "002.p/88")]
    add_entries(app, 3)
    assert output(app, "audit", "prune", "--older-than", "1d", "--dry-run").startswith("would be pruned: 512 entries")
    assert (count_entries(database_url), read_minimum(api)) == (603, 0)
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("pruned: 512 entries, numbers 0 to 511")
    assert (count_entries(database_url), read_minimum(api)) == (603 - 512 + 1, 512)
    announcement = api.entries(1)[0]
    assert (announcement["action"], announcement["target"], announcement["actor"]) == ("audit_prune", "0-511", "local")
    wanted = {"minimum_before": 0, "minimum_after": 512, "entries": 512, "older_than": "1d", "asked_by": "command"}
    assert wanted.items() <= announcement["details"].items()

    new = open_checkpoint(api("GET", "/v1/audit/log/checkpoint").text, vkey)
    assert (old.size, new.size) == (600, 604)
    path = api("GET", f"/v1/audit/log/consistency?from={old.size}&to={new.size}").json["hashes"]  # type: ignore[index]
    assert is_consistent(old.size, new.size, old.root, new.root, [decode_base64(node) for node in path])
    assert [api("GET", f"/v1/audit/log/tile/0/{place}").data for place in ("000", "001", "002.p/88")] == tiles
    for event_id in (ids[512], ids[599], announcement["event_id"]):
        entry = api("GET", f"/v1/audit/entries/{event_id}").json
        proof = api("GET", f"/v1/audit/entries/{event_id}/proof").text
        assert check_proof(proof, make_leaf(entry), vkey) == new  # type: ignore[arg-type]

    for place in ("entries/000", "entries/001", "entries/001.p/7"):
        answer = api("GET", f"/v1/audit/log/tile/{place}")
        assert (answer.status_code, answer.json["error"]) == (410, "the bundle was pruned")  # type: ignore[index]
        assert "minimum index is 512" in answer.json["detail"]  # type: ignore[index]
    assert api("GET", "/v1/audit/log/tile/entries/002.p/92").status_code == 200
    for path_of in (f"/v1/audit/entries/{ids[300]}", f"/v1/audit/entries/{ids[300]}/proof"):
        answer = api("GET", path_of)
        assert (answer.status_code, answer.json["detail"]) == (404, "it was pruned: number 300 of the log")  # type: ignore[index]
    assert "there is no entry" in api("GET", "/v1/audit/entries/nonsense").text
    assert verify_log(app)["ok"]

    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")
    assert count_entries(database_url) == 92


def test_nothing_young_or_unfinished_goes(app: Flask, api: Api, database_url: str) -> None:
    """A bundle with one young entry stays, and a bundle that is not full; an age must be an hour or more."""
    store(app, [make_old_event(7 * 86400, number) for number in range(255)])
    add_entries(app, 1)
    make_old_log(app, 255)
    seal(app)
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")
    assert count_entries(database_url) == 511
    for age in ("1", "0d", "-1d", "10m", "1.5h", "400 d"):
        refused = run(app, "audit", "prune", "--older-than", age)
        assert refused.exit_code != 0
        assert "a number and h, d or w, like 400d" in refused.stderr
    assert verify_log(app)["ok"]


def test_a_log_that_does_not_hold_is_not_pruned(app: Flask, api: Api, database_url: str) -> None:
    """Evidence stays: where an entry of the range is not the sealed one, nothing is announced and nothing goes."""
    make_old_log(app, 300)
    attack(database_url, "UPDATE audit_log SET actor = 'somebody' WHERE id = 7")
    said = failure(app, "audit", "prune", "--older-than", "1d")
    assert "number 6 is not the entry that was sealed" in said
    assert "audit verify" in said
    assert (count_entries(database_url), read_minimum(api)) == (300, 0)


def test_writers_go_on(app: Flask, api: Api, database_url: str) -> None:
    """While bundles go, others write as ever: all succeed, all is recorded, all verifies."""
    make_old_log(app, 1100)
    failures: list[BaseException] = []
    written = 0
    over = threading.Event()

    def write(name: str) -> None:
        nonlocal written
        number = 0
        try:
            while not over.is_set() or number < 3:
                with acting(app):
                    add_policy(name, str(number), "deny")
                number += 1
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)
        written += number

    writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    try:
        assert prune(app) == 1024
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert failures == []
    assert written == len(behind(database_url, "SELECT 1 FROM policies"))
    seal(app)
    assert count_entries(database_url) == 1100 - 1024 + 1 + written
    assert verify_log(app)["ok"]


def test_two_nodes_prune_once(app: Flask, make_app: MakeApp, api: Api, database_url: str) -> None:
    """Of two that planned the same, one prunes; the other is told, and leaves no second announcement."""
    make_old_log(app, 300)
    other = make_app()
    with acting(other):
        late = pruner.prepare_plan(86400)
        late.extend()
    assert prune(app) == 256
    with acting(other), pytest.raises(Problem, match="pruned meanwhile"):
        pruner.announce(late, "1d", "command")
    done = [entry["outcome"] for entry in api.entries() if entry["action"] == "audit_prune"]
    assert done == ["failed", "ok"]
    assert read_minimum(api) == 256


def test_the_pulse_prunes(make_app: MakeApp, database_url: str) -> None:
    """With YOQ_AUDIT_RETENTION a beat now and then prunes what is old enough, by and by; without it nothing goes."""
    app = make_app(YOQ_AUDIT_RETENTION="2d")
    api = Api(app)
    make_old_log(app, 1100)
    with make_app().app_context():
        schedule.run_due()
    assert count_entries(database_url) == 1100
    for _ in range(50):
        with app.app_context():
            schedule.run_due()
            db.session.remove()
        if count_entries(database_url) == 1100 - 1024 + 1:
            break
    assert count_entries(database_url) == 1100 - 1024 + 1
    [entry] = [entry for entry in api.entries() if entry["action"] == "audit_prune"]
    assert (entry["actor"], entry["details"]["asked_by"]) == ("system", "YOQ_AUDIT_RETENTION")
    retention = {"minimum_index": 1024, "retention": "2d", "erased": []}
    assert api("GET", "/v1/audit/log/retention").json == retention
    assert api("GET", "/health").json["status"] == "ok"  # type: ignore[index]
    assert verify_log(app)["ok"]


def test_the_pulse_says_what_is_in_the_way(make_app: MakeApp, database_url: str) -> None:
    """A log that does not hold is not pruned by the pulse either, and /health says so."""
    app = make_app(YOQ_AUDIT_RETENTION="2d")
    make_old_log(app, 256)
    attack(database_url, "DELETE FROM audit_log WHERE id = 7")
    with app.app_context():
        schedule.run_due()
    assert count_entries(database_url) == 255
    assert "old entries are not pruned: the log does not hold" in Api(app)("GET", "/health").text


def test_a_record_that_comes_again(app: Flask, database_url: str) -> None:
    """A spool that hands over an event once more after its entry is pruned adds none; one never stored is stored."""
    events = [make_old_event(7 * 86400, number) for number in range(256)]
    store(app, events)
    assert prune(app) == 256
    before = count_entries(database_url)
    hand_over(app, events[0], events[255], events[100])
    assert count_entries(database_url) == before
    hand_over(app, make_old_event(7 * 86400, 300))
    assert count_entries(database_url) == before + 1


def test_a_machine_without_the_key_prunes_nothing(app: Flask, make_app: MakeApp, tmp_path: Path) -> None:
    """Only who can sign can announce."""
    make_old_log(app, 256)
    other = make_app(YOQ_DATA_DIR=str(tmp_path / "other"))
    said = failure(other, "audit", "prune", "--older-than", "1d")
    assert "nothing can be pruned or erased here" in said


def test_plans_are_made_by_and_by(app: Flask) -> None:
    """A plan looks at as much as it is given time for, and at no more than it is told."""
    make_old_log(app, 1100)
    with acting(app):
        planned = plan.make_plan(0, 86400)
        planned.extend(until=0.0)
        assert (planned.reached, planned.done) == (256, False)
        planned.extend(most=600)
        assert (planned.reached, planned.entries, planned.done) == (512, 512, True)
