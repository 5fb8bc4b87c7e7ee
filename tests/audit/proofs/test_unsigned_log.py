"""The log over HTTP where there is little to sign or nobody who may: empty, rewound, or without its key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from flask import Flask

from tests.audit.proofs.test_log_http import LOG, fill, good, log_of
from tests.conftest import Api, MakeApp
from tests.support.commandline import output, run
from tests.support.log_keys import read_health, read_own_key
from tests.support.outsider import (
    Head,
    check_proof,
    open_checkpoint,
)
from tests.support.tampering import attack


@pytest.mark.parametrize("first", ["checkpoint", "key", "key/announcements", "consistency?from=0", "checkpoint?size=0"])
def test_an_empty_log_is_signed(app: Flask, api: Api, first: str, tmp_path: Path) -> None:
    """Before the first entry there is a key and a checkpoint of size 0, whatever is asked for first, and no more."""
    good(api, first)
    vkey = good(api, "key").text.strip()
    note = good(api, "checkpoint").text
    assert open_checkpoint(note, vkey) == Head("yoq-web/node-1", 0, hashlib.sha256().digest())
    assert good(api, "checkpoint?size=0").text == note
    assert good(api, "key/announcements").json == []
    assert good(api, "consistency?from=0").json == {"from": 0, "to": 0, "hashes": []}
    assert (tmp_path / "log.key").exists()
    assert (tmp_path / "log.head").read_text() == note
    for path in ("tile/0/000", "tile/0/000.p/1", "tile/entries/000.p/1", "checkpoint?size=1"):
        assert api("GET", f"{LOG}/{path}").status_code == 404, path
    assert api("GET", f"{LOG}/consistency?from=1").status_code == 400
    assert api.entries() == []
    fill(app, 2)
    assert open_checkpoint(good(api, "checkpoint").text, vkey).size == 2
    assert good(api, "consistency?from=0").json == {"from": 0, "to": 2, "hashes": []}


def test_the_key_is_there_from_the_first_start_on(app: Flask, api: Api, tmp_path: Path) -> None:
    """Whoever asks first gets the log's key; what beats unasked makes none, so that a backup may still be restored."""
    assert read_health(app) is None
    assert not (tmp_path / "log.key").exists()
    own = good(api, "key").text.strip()
    assert own == read_own_key(app).vkey == output(app, "audit", "key").strip()
    assert (tmp_path / "log.head").exists()
    assert run(app, "audit", "verify").exit_code == 0
    assert read_health(app) is None


def test_a_machine_without_the_key_does_not_sign_the_empty_log(
    app: Flask, api: Api, make_app: MakeApp, tmp_path: Path
) -> None:
    """It serves the key, makes none of its own, and answers 503 until something is sealed."""
    vkey = good(api, "key").text
    (tmp_path / "other").mkdir()
    other = Api(make_app(YOQ_DATA_DIR=str(tmp_path / "other"), YOQ_NODE="node-2"))
    assert good(other, "key").text == vkey
    answer = other("GET", f"{LOG}/checkpoint")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert not (tmp_path / "other" / "log.key").exists()
    fill(app, 1)
    good(api, "checkpoint")
    assert good(other, "checkpoint").text == good(api, "checkpoint").text


def test_a_rewound_log_signs_and_proves_nothing(app: Flask, api: Api, database_url: str) -> None:
    """When the database was cut back behind the head, checkpoint, proof and consistency say so with 503."""
    fill(app, 9)
    entry = api.entries(1)[0]["event_id"]
    good(api, "checkpoint")
    attack(database_url, "DELETE FROM audit_checkpoint", "DELETE FROM audit_leaf", "DELETE FROM audit_tile")
    for path in (f"{LOG}/checkpoint", f"/v1/audit/entries/{entry}/proof", f"{LOG}/consistency?from=1"):
        answer = api("GET", path)
        assert answer.status_code == 503, answer.text
        assert answer.json is not None
        assert answer.json["error"] == "the log was rewound"
        assert "log.head" in answer.json["detail"]


def test_a_machine_without_the_key_shows_what_is_signed(
    app: Flask, api: Api, make_app: MakeApp, tmp_path: Path
) -> None:
    """Another machine serves the signed log and its proofs, and says of an entry that is not sealed yet why not."""
    fill(app, 3)
    note = good(api, "checkpoint").text
    (tmp_path / "other").mkdir()
    other = Api(make_app(YOQ_DATA_DIR=str(tmp_path / "other"), YOQ_NODE="node-2"))
    assert good(other, "checkpoint").text == note
    first = api.entries()[-1]["event_id"]
    log, vkey = log_of(other)
    leaf = log.leaves(3)[0]
    assert check_proof(other("GET", f"/v1/audit/entries/{first}/proof").text, leaf, vkey).size == 3
    assert other("DELETE", "/v1/policies/x/y").status_code == 200
    newest = api.entries(1)[0]["event_id"]
    answer = other("GET", f"/v1/audit/entries/{newest}/proof")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "does not have the log's key" in answer.text
    assert not (tmp_path / "other" / "log.key").exists()
    assert api("GET", f"/v1/audit/entries/{newest}/proof").status_code == 200
    assert other("GET", f"/v1/audit/entries/{newest}/proof").status_code == 200


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_key_file_of_no_use_is_told(app: Flask, api: Api, tmp_path: Path) -> None:
    """A damaged key file is a 503 that names the file without its folder, not a traceback."""
    fill(app, 2)
    good(api, "checkpoint")
    (tmp_path / "log.key").write_text("PRIVATE+KEY+nonsense\n")
    fill(app, 1)
    answer = api("GET", f"{LOG}/checkpoint")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["error"] == "the log's key cannot be used"
    assert "log.key" in answer.text
    assert str(tmp_path) not in answer.text
    assert "nonsense" not in answer.text
