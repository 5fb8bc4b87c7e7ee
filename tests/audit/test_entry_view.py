"""`yoq-web audit show`: one entry with its intent, its request, its place and its proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.backup import backup, use_postgres_programs
from tests.support.commandline import failure, output, run
from tests.support.retention import make_old_log
from tests.support.tampering import attack
from tests.support.trail import make_entry, store


def show(app: Flask, event_id: str) -> dict[str, Any]:
    """What the command prints for programs."""
    found: dict[str, Any] = json.loads(output(app, "audit", "show", event_id, "--json"))
    return found


def lines(text: str) -> dict[str, str]:
    """What the command prints for people, by the names in its first column."""
    return {line[:10].strip(): line[11:] for line in text.partition("\n\n")[0].splitlines()}


def test_an_entry_of_a_request(app: Flask, api: Api) -> None:
    """The entry is what the API answers; what else its request did follows; it is sealed, and its proof holds."""
    answers = [
        api("POST", "/v1/secrets", json={"name": name, "value": "v"}, headers={"X-Request-Id": "a-request"})
        for name in ("a", "b\x1b[2K")
    ]
    first, second = (answer.headers["Audit-Id"] for answer in answers)
    found = show(app, first)
    assert found["entry"] == api("GET", f"/v1/audit/entries/{first}").json
    assert [other["event_id"] for other in found["request"]] == [second]
    assert (found["intent"], found["place"]) == (None, 0)
    assert found["proof"].items() >= {"holds": True, "size": 2}.items()
    assert abs(found["sealed_at"] - found["entry"]["recorded_at"]) < 60
    text = output(app, "audit", "show", first)
    said = lines(text)
    assert (said["entry"], said["actor"], said["target"]) == (first, "api-token (admin)", "a")
    assert (said["outcome"], said["from"], said["place"]) == ("ok", "127.0.0.1", "0")
    assert said["proof"].startswith("holds: it is in the log of 2 that ")
    assert "in the same request:" in text
    assert second[:13] in text
    assert "\x1b" not in text
    assert "b\\x1b[2K" in text


def test_a_beginning_of_the_id_is_enough(app: Flask, database_url: str) -> None:
    """What is ambiguous names those that it may be; what is too short, or nothing, is told."""
    ids = [
        "01a20000-0000-7000-8000-000000000001",
        "01a20000-0000-7000-8000-000000000002",
        "01a20000-0001-7000-8000-000000000001",
    ]
    store(database_url, [make_entry(number, event_id=event_id) for number, event_id in enumerate(ids)])
    assert show(app, "01a20000-0001")["entry"]["event_id"] == ids[2]
    assert show(app, ids[0])["entry"]["event_id"] == ids[0]
    said = failure(app, "audit", "show", "01a20000-0000")
    assert all(event_id in said for event_id in ids[:2])
    assert ids[2] not in said
    assert "too short" in failure(app, "audit", "show", "01a2000")
    for unknown in ("01a2ffff-0000", "nothing at all", "%", "01a20000-0000-7000-8000-00000000000f"):
        assert "there is no entry" in failure(app, "audit", "show", unknown)


def test_an_intent_belongs_to_its_outcome(
    app: Flask, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An effect outside the database has two entries: the later one shows when it began."""
    use_postgres_programs(monkeypatch)
    backup(app, tmp_path / "a.yoqbackup")
    newest = api.entries(1)[0]
    assert (newest["action"], newest["outcome"]) == ("backup", "ok")
    found = show(app, newest["event_id"])
    assert (found["entry"]["outcome"], found["intent"]["outcome"]) == ("ok", "started")
    assert found["place"] == 1
    assert "begun" in lines(output(app, "audit", "show", newest["event_id"]))


def test_an_altered_entry_is_no_proof(app: Flask, api: Api, database_url: str) -> None:
    """What was changed behind the application's back is shown, with a proof that does not hold, and exit code 1."""
    event_id = api("GET", "/v1/secrets").headers["Audit-Id"]
    assert show(app, event_id)["proof"]["holds"]
    attack(database_url, f"UPDATE audit_log SET details = 'no JSON', time = 7 WHERE event_id = '{event_id}'")
    done = run(app, "audit", "show", event_id)
    assert done.exit_code == 1
    assert lines(done.stdout)["details"] == "no JSON"
    assert lines(done.stdout)["proof"].startswith("does not hold: ")
    done = run(app, "audit", "show", event_id, "--json")
    assert (done.exit_code, json.loads(done.stdout)["proof"]["holds"]) == (1, False)


def test_what_is_gone_is_told(app: Flask) -> None:
    """A pruned entry says where it stood."""
    ids = make_old_log(app, 600)
    output(app, "audit", "prune", "--older-than", "1d")
    assert "it was pruned: number 3 of the log" in failure(app, "audit", "show", ids[3])
    assert show(app, ids[599])["place"] == 599
