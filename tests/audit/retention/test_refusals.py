"""The database lets go of nothing that no entry announced; and verification believes signed announcements alone."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from tests.conftest import Api
from tests.support.commandline import output
from tests.support.door import behind, entries
from tests.support.retention import count_entries, hand_over, make_old_event, make_old_log, prune, read_minimum, store
from tests.support.tampering import add_entries, attack, format_bytes, list_findings, seal, verify_log
from yoq_audit.storage.tombstones import fingerprint

PLACE = "INSERT INTO audit_leaf (leaf_index, entry_id) VALUES"
FORGED = {
    "minimum_before": 256,
    "minimum_after": 512,
    "entries": 256,
    "cutoff": 2**61,
    "signature": "— yoq-web/node-1 AAAA",
}


def insertion(action: str, details: dict[str, object], target: str = "256-511", event_id: str = "forged") -> str:
    """A statement that adds an announcing entry that no operation left."""
    said = json.dumps(details, separators=(",", ":"), ensure_ascii=False).replace("'", "''")
    # A colon before a word would be taken for a parameter's name.
    said = said.replace(":", r"\:")
    return (
        "INSERT INTO audit_log (event_id, recorded_at, time, actor, actor_kind, action, target, outcome, node, "
        "details, version, nonce) SELECT "
        f"'{event_id}', recorded_at, time, 'local', 'local', '{action}', '{target}', 'ok', node, '{said}', 1, 'n' "
        "FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)"
    )


def test_the_database_refuses_what_is_not_announced(app: Flask, api: Api, database_url: str) -> None:
    """After a pruning as before it: no entry is changed, none that remains is deleted, no minimum rises by itself."""
    make_old_log(app, 600)
    assert prune(app) == 512
    before = entries(database_url)
    first, last = before[0]["id"], before[-1]["id"]
    young, fresh = before[78]["event_id"], before[-1]["event_id"]
    refused = [
        "DELETE FROM audit_log",
        f"DELETE FROM audit_log WHERE id = {first}",
        "UPDATE audit_log SET actor = actor",
        "DELETE FROM audit_leaf",
        f"DELETE FROM audit_leaf WHERE entry_id = {last}",
        "UPDATE audit_leaf SET leaf_index = leaf_index - 600",
        f"{PLACE} (3, {last})",
        "UPDATE audit_minimum SET minimum = 768",
        "DELETE FROM audit_minimum",
        "DELETE FROM audit_pruned",
        "UPDATE audit_pruned SET number = number + 9",
        *(
            f"INSERT INTO audit_minimum (minimum, event_id, cutoff) VALUES ({raised}, '{event}', {2**61})"
            for raised in (256, 512, 513, 768)
            for event in (fresh, "nothing")
        ),
        f"INSERT INTO audit_erased (leaf_index, event_id, announced_by) VALUES (590, '{young}', '{fresh}')",
    ]
    for statement in refused:
        with pytest.raises(DBAPIError):
            behind(database_url, statement)
    assert entries(database_url) == before
    assert read_minimum(api) == 512
    assert verify_log(app)["ok"]


def test_a_place_under_the_minimum_does_not_excuse_a_young_entry(app: Flask, database_url: str) -> None:
    """An entry that is not sealed yet cannot be put at a pruned place and be deleted as if it were old."""
    make_old_log(app, 256)
    assert prune(app) == 256
    add_entries(app, 1)
    entry = entries(database_url)[-1]["id"]
    behind(database_url, f"{PLACE} (7, {entry})")
    with pytest.raises(DBAPIError, match="audit_log is append-only"):
        behind(database_url, f"DELETE FROM audit_log WHERE id = {entry}")


def test_a_forged_announcement_excuses_nothing(app: Flask, api: Api, database_url: str) -> None:
    """An entry `audit_prune` that the log's key did not sign is told, and what is missing with it is missing."""
    make_old_log(app, 600)
    assert prune(app) == 256 * 2
    add_entries(app, 300)
    seal(app)
    statement = insertion("audit_prune", {**FORGED, "minimum_before": 512, "minimum_after": 768})
    behind(database_url, statement)
    seal(app)
    output(app, "audit", "prune", "--older-than", "400d")  # which acts upon no announcement that is not signed
    assert (read_minimum(api), count_entries(database_url)) == (512, 600 - 512 + 1 + 300 + 1)
    behind(
        database_url,
        "INSERT INTO audit_minimum (minimum, event_id, cutoff) SELECT 768, 'forged', " + str(2**61),
        "DELETE FROM audit_log WHERE id IN (SELECT entry_id FROM audit_leaf WHERE leaf_index < 600)",
    )
    report = verify_log(app)
    kinds = [finding["kind"] for finding in report["findings"]]
    assert kinds.count("retention") == 2
    assert "the log's key did not sign" in report["findings"][0]["message"]
    assert report["findings"][1]["message"] == "the minimum index is 768, but entries announce 512"
    assert kinds.count("removed") == report["found"] - 2 == 88


def test_a_raised_minimum_without_any_entry(app: Flask, database_url: str) -> None:
    """Who takes the triggers away, raises the minimum and deletes is found out, entry by entry."""
    make_old_log(app, 300)
    attack(
        database_url,
        "INSERT INTO audit_minimum (minimum, event_id, cutoff) VALUES (256, 'nothing', 9)",
        "DELETE FROM audit_log WHERE id <= 40",
        "INSERT INTO audit_erased (leaf_index, event_id, announced_by) VALUES (290, 'x', 'y')",
        "DELETE FROM audit_log WHERE id = 291",
    )
    report = verify_log(app)
    assert [finding["message"] for finding in report["findings"][:2]] == [
        "the minimum index is 256, but entries announce none",
        "number 290 of the log is marked as erased, but no entry announces it",
    ]
    places = [index for kind, index in list_findings(app, "kind", "index") if kind == "removed"]
    assert places == [*range(40), 290]


def test_beside_what_is_announced_everything_is_told(app: Flask, database_url: str) -> None:
    """In a pruned log an altered, a removed and an inserted entry are named as ever, and so is a lowered minimum."""
    ids = make_old_log(app, 600)
    assert prune(app) == 512
    gone = entries(database_url)[40]["id"]
    attack(
        database_url,
        f"UPDATE audit_log SET actor = 'somebody' WHERE event_id = '{ids[520]}'",
        f"DELETE FROM audit_log WHERE id = {gone}",
        "DELETE FROM audit_minimum",
    )
    assert list_findings(app, "kind", "index") == [("retention", None), ("altered", 520), ("removed", 552)]


def test_a_pruned_entry_that_comes_back_is_told(app: Flask, database_url: str) -> None:
    """Nobody can put an entry back to where it was pruned: it stands as inserted."""
    make_old_log(app, 300)
    row = entries(database_url)[7]
    assert prune(app) == 256
    columns = [name for name, value in row.items() if value is not None]
    values = ", ".join(str(row[name]) if isinstance(row[name], int) else f"'{row[name]}'" for name in columns)
    behind(database_url, f"INSERT INTO audit_log ({', '.join(columns)}) VALUES ({values})".replace(":", r"\:"))
    assert list_findings(app, "kind", "entry") == [("inserted", row["id"])]


def test_no_record_is_dropped_by_what_is_kept_of_pruned_bundles(app: Flask, database_url: str) -> None:
    """Who puts an event's fingerprint there drops none from after the cutoff that a sealed entry announces."""
    make_old_log(app, 300)
    assert prune(app) == 256
    young, old = make_old_event(3600), make_old_event(8 * 86_400)
    for event in (young, old):
        kept = format_bytes(database_url, fingerprint(event.id, "ok") + bytes(2040))
        attack(database_url, f"UPDATE audit_pruned SET first_time = 0, last_time = {2**62}, events = {kept}")
        hand_over(app, event)
    stored = {entry["event_id"] for entry in entries(database_url)}
    assert young.id in stored
    assert old.id not in stored
    assert ("retention",) in list_findings(app, "kind")


def test_tiles_of_pruned_places_are_held_against_the_tree(app: Flask, database_url: str) -> None:
    """Where only hashes are left, they must still lead to the signed root."""
    make_old_log(app, 300)
    assert prune(app) == 256
    data = bytes(behind(database_url, "SELECT hashes FROM audit_tile WHERE level = 0 AND number = 0")[0]["hashes"])
    value = bytes([data[0] ^ 1]).hex() + data[1:].hex()
    literal = f"x'{value}'" if database_url.startswith("sqlite") else f"decode('{value}', 'hex')"
    attack(database_url, f"UPDATE audit_tile SET hashes = {literal} WHERE level = 0 AND number = 0")
    assert "tile 0/0" in verify_log(app)["findings"][0]["message"]


def test_the_revision_down_and_up_again(app: Flask, api: Api, database_url: str) -> None:
    """Taking the tables of retention away and making them anew keeps what the log announces."""
    ids = make_old_log(app, 300)
    assert prune(app) == 256
    store(app, [make_old_event(120, 1)])
    output(app, "audit", "erase", ids[270], "--reason", "asked", "--yes")
    before = api("GET", "/v1/audit/log/retention").json
    output(app, "db", "-x", "plugin=audit", "downgrade", "--yes", "audit003")
    output(app, "db", "-x", "plugin=audit", "upgrade")
    assert api("GET", "/v1/audit/log/retention").json == before
    assert before == {"minimum_index": 256, "retention": None, "erased": [270]}
    # What was kept of pruned bundles went with its table; they are marked anew.
    assert list_findings(app, "kind") == [("retention",)]
    assert output(app, "audit", "prune", "--older-than", "1d").startswith("nothing to prune")
    assert verify_log(app)["ok"]
    with pytest.raises(DBAPIError, match="audit_log is append-only"):
        behind(database_url, "DELETE FROM audit_log")
