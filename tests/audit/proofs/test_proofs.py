"""Proofs of one entry: written by `audit prove` and over HTTP, checked offline by anybody who has the log's key."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import failure, output, run
from tests.support.door import acting, behind
from tests.support.outsider import Log, check_proof
from tests.support.served import Served, command
from yoq_audit.proofs.commands import check_command
from yoq_audit.tlog.note import Signer
from yoq_web import format_local
from yoq_web.operations.replay import replay
from yoq_web.policies.operations import add_policy, delete_policy

COUNT = 300


@pytest.fixture
def entry(app: Flask, api: Api) -> str:
    """The id of an entry with text beyond ASCII, in a log of more than one tile."""
    with acting(app):
        for number in range(COUNT - 1):
            delete_policy("a", str(number))
        add_policy('wé"b', "d\u2028b", "deny")
    found: str = api.entries(1)[0]["event_id"]
    return found


def check(proof: Path, document: Path, *vkeys: str) -> tuple[int, str]:
    """Exit code and all that `check-proof` prints, without any application."""
    keys = [argument for vkey in vkeys for argument in ("--key", vkey)]
    done = CliRunner().invoke(check_command, [str(proof), "--entry", str(document), *keys])
    return done.exit_code, done.output


def flips(content: bytes) -> Iterator[bytes]:
    """The content with one byte changed: every byte once, in one of the ways."""
    chance = random.Random(len(content))  # noqa: S311 - a choice of test cases
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= chance.choice((1, 2, 4, 8, 16, 32, 64, 128, 255))
        yield bytes(changed)


def test_an_outsider_checks_a_proof(app: Flask, api: Api, entry: str) -> None:
    """The proof of an entry holds by the public specifications, with the leaf from the entry's bundle."""
    proof = api("GET", f"/v1/audit/entries/{entry}/proof").text
    vkey = api("GET", "/v1/audit/log/key").text.strip()
    log = Log(lambda path: api("GET", f"/v1/audit/log/{path}").data)
    leaf = log.leaves(COUNT)[-1]
    assert json.loads(leaf)["event_id"] == entry
    assert check_proof(proof, leaf, vkey).size == COUNT


def test_prove_and_check(app: Flask, api: Api, entry: str, tmp_path: Path) -> None:
    """`prove` writes what HTTP answers; `check-proof` takes its entry and that of the API, and says what is proved."""
    proof, document = tmp_path / "e.tlog-proof", tmp_path / "e.json"
    assert output(app, "audit", "prove", entry, "-o", str(proof), "--entry", str(document)) == ""
    assert proof.read_bytes() == api("GET", f"/v1/audit/entries/{entry}/proof").data
    assert output(app, "audit", "prove", entry, "-o", "-").encode() == proof.read_bytes()
    vkey = output(app, "audit", "key").removesuffix("\n")
    assert vkey == api("GET", "/v1/audit/log/key").text.removesuffix("\n")
    holds = f"proved: {entry} is entry {COUNT - 1} of the {COUNT} that yoq-web/node-1 signed\n"
    shown = json.loads(document.read_bytes())
    told = f"actor {shown['actor']} action policy_add target {shown['target']} outcome ok\n"
    holds += f"time {format_local(shown['time'])} {told}".replace("\u2028", "\\u2028")
    assert check(proof, document, vkey) == (0, holds)
    other = Signer.generate("yoq-web/other").vkey
    assert check(proof, document, other, vkey) == (0, holds)
    answered = api("GET", f"/v1/audit/entries/{entry}").data
    document.write_bytes(answered)
    assert check(proof, document, vkey) == (0, f"{holds}not covered by the proof: id\n")
    document.write_bytes(answered.replace(b'"deny"', b'"allow"'))
    assert check(proof, document, vkey)[0] == 1


@pytest.mark.parametrize("backend", ["sqlite"])
def test_any_changed_byte_is_refused(app: Flask, api: Api, entry: str, tmp_path: Path) -> None:
    """No byte of proof, entry or key can be changed: the check fails, with one line that says so."""
    proof, document, changed = (tmp_path / name for name in ("proof", "document", "changed"))
    output(app, "audit", "prove", entry, "-o", str(proof), "--entry", str(document))
    vkey = output(app, "audit", "key").removesuffix("\n")
    assert check(proof, document, vkey)[0] == 0
    for original, arguments in ((proof, (changed, document)), (document, (proof, changed))):
        for content in flips(original.read_bytes()):
            changed.write_bytes(content)
            code, said = check(*arguments, vkey)
            assert code == 1, content
            assert said.startswith("not proved: ")
            assert said.count("\n") == 1
    for content in flips(vkey.encode()):
        assert check(proof, document, content.decode("latin-1"))[0] == 1, content
    for original in (proof, document):
        whole = original.read_bytes()
        for content in (b"", whole[:-2], whole + b"\n", b" " + whole, whole * 2):
            changed.write_bytes(content)
            arguments = (changed, document) if original is proof else (proof, changed)
            assert check(*arguments, vkey)[0] == 1, content


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"version":1', '"version":true'),
        ('"version":1', '"version":2'),
        ('"peer":null', '"peer":[]'),
        ('"peer":null', '"peer":null,"more":1'),
        ('"peer":null,', ""),
        ('"outcome":"ok"', '"outcome":0'),
        ('"outcome":"ok"', '"outcome":"ok","outcome":"ok"'),
        ('"details":{', '"details":[{'),
        ('"outcome":"ok"', '"outcome":"\\u006fk"'),
        ('"outcome":"ok"', '"outcome":"\\ud800"'),
        ('"outcome":"ok"', '"outcome": "ok"'),
        ('"time":"20', '"time":"99999999'),
        ('"recorded_at":', '"recorded_at":1'),
        ("{", "[" * 100_000),
    ],
)
def test_what_is_no_entry(app: Flask, entry: str, tmp_path: Path, before: str, after: str) -> None:
    """A document that no entry has, or another spelling of one, is refused in words."""
    proof, document = tmp_path / "proof", tmp_path / "document"
    output(app, "audit", "prove", entry, "-o", str(proof), "--entry", str(document))
    vkey = output(app, "audit", "key").removesuffix("\n")
    text = document.read_text()
    assert before in text
    document.write_text(text.replace(before, after, 1))
    code, said = check(proof, document, vkey)
    assert (code, said[:12], said.count("\n")) == (1, "not proved: ", 1)


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_checking_needs_nothing_of_ours(app: Flask, entry: str, tmp_path: Path) -> None:
    """The program checks a proof without a database, with settings of no use, and leaves the data directory unmade."""
    proof, document, nowhere = tmp_path / "proof", tmp_path / "document", tmp_path / "nowhere"
    output(app, "audit", "prove", entry, "-o", str(proof), "--entry", str(document))
    vkey = output(app, "audit", "key").removesuffix("\n")
    useless = {"YOQ_DATABASE_URL": "nonsense://", "YOQ_NODE": "a node", "YOQ_API_TOKEN": "x"}
    done = command(nowhere, "audit", "check-proof", str(proof), "--entry", str(document), "--key", vkey, **useless)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"proved: {entry} ")
    other = Signer.generate("yoq-web/node-1").vkey
    done = command(nowhere, "audit", "check-proof", str(proof), "--entry", str(document), "--key", other, **useless)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "not proved: no known key signed the note\n"
    assert not nowhere.exists()
    assert "check-proof" in output(app, "audit", "--help")


def test_there_is_nothing_to_prove(app: Flask, api: Api, tmp_path: Path) -> None:
    """An entry that there is not is 404 and exit code 1, and leaves no file."""
    for unknown in ("no-such-entry", "0" * 36):
        assert api("GET", f"/v1/audit/entries/{unknown}/proof").status_code == 404
        said = failure(app, "audit", "prove", unknown, "-o", str(tmp_path / "proof"))
        assert said == f"not found\nthere is no entry {unknown!r}\n"
        assert not (tmp_path / "proof").exists()
    done = run(app, "audit", "prove", entry_of(app, api), "-o", str(tmp_path / "no" / "folder"))
    assert done.exit_code == 1
    assert "Traceback" not in done.output


def entry_of(app: Flask, api: Api) -> str:
    """The id of a new entry."""
    with acting(app):
        delete_policy("a", "b")
    found: str = api.entries(1)[0]["event_id"]
    return found


def test_an_altered_entry_is_not_proved(app: Flask, api: Api, database_url: str) -> None:
    """Of an entry that is not what was sealed no proof is given out: 503 says that the log is damaged."""
    found = entry_of(app, api)
    assert api("GET", f"/v1/audit/entries/{found}/proof").status_code == 200
    on = " ON audit_log" if app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql") else ""
    behind(database_url, f"DROP TRIGGER audit_log_no_update{on}", "UPDATE audit_log SET actor = 'somebody'")
    answer = api("GET", f"/v1/audit/entries/{found}/proof")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["error"] == "the log is damaged"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_entry_in_the_spool_is_proved_once_it_is_stored(app: Flask, api: Api, database_url: str) -> None:
    """While an entry is only in the spool its proof is a 503 that says so; when the database takes it, it is proved."""
    entry_of(app, api)
    refusal = "BEGIN SELECT RAISE(ABORT, 'no'); END"
    behind(database_url, f"CREATE TRIGGER refuse BEFORE INSERT ON audit_log {refusal}")
    receipt = api("DELETE", "/v1/policies/x/y").headers["Audit-Id"]
    answer = api("GET", f"/v1/audit/entries/{receipt}/proof")
    assert answer.status_code == 503
    assert "only in the spool" in answer.text
    behind(database_url, "DROP TRIGGER refuse")
    assert api("DELETE", "/v1/policies/x/z").status_code == 200
    with app.app_context():
        replay()
    assert api("GET", f"/v1/audit/entries/{receipt}/proof").status_code == 200


@pytest.mark.program
def test_a_receipt_is_proved_within_a_second(served: Served) -> None:
    """The Audit-Id of a response finds its entry at once and its proof within a second, on the program as it runs."""
    for number in range(3):
        done = served("POST", "/v1/policies", json={"source": "a", "target": str(number), "action": "deny"})
        assert done.status_code == 200
        receipt = done.headers["Audit-Id"]
        assert served("GET", f"/v1/audit/entries/{receipt}").json()["target"] == f"a->{number}"
        deadline = time.monotonic() + 1
        answer = served("GET", f"/v1/audit/entries/{receipt}/proof")
        while answer.status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
            answer = served("GET", f"/v1/audit/entries/{receipt}/proof")
        assert answer.status_code == 200, answer.text
        log = Log(lambda path: served("GET", f"/v1/audit/log/{path}").content)
        leaf = log.leaves(number + 1)[-1]
        answer.encoding = "utf-8"
        assert check_proof(answer.text, leaf, log.get("key").decode().strip()).size >= number + 1
