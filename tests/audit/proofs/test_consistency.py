"""`yoq-web audit check-consistency`: two kept checkpoints, offline with a file, or with the answer of a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import output
from tests.support.served import Served
from tests.support.tampering import make_log
from yoq_audit.proofs.consistency import check_command
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer, sign


class Kept:
    """Checkpoints as an auditor kept them, and the key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ""

    def keep(self, name: str, content: bytes) -> str:
        """Write a file; returns its path."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def check(self, old: str, new: str, *options: str, key: str = "") -> Result:
        """Run the command, without any application."""
        paths = [str(self.folder / name) for name in (old, new)]
        return CliRunner().invoke(check_command, [*paths, "--key", key or self.key, *options])


@pytest.fixture
def kept(app: Flask, api: Api, tmp_path: Path) -> Kept:
    """Checkpoints of sizes 5, 305 and 305 again, and the proof between the first two."""
    found = Kept(tmp_path)
    make_log(app, 5)
    found.keep("old", api("GET", "/v1/audit/log/checkpoint").data)
    make_log(app, 300)
    found.keep("new", api("GET", "/v1/audit/log/checkpoint").data)
    found.keep("proof", api("GET", "/v1/audit/log/consistency?from=5&to=305").data)
    found.key = output(app, "audit", "key").strip()
    return found


def test_the_log_only_grew(kept: Kept) -> None:
    """With the proof from a file, in words and for programs; between equal sizes nothing is needed."""
    proof = ("--proof", str(kept.folder / "proof"))
    done = kept.check("old", "new", *proof)
    said = "proved: the log of 5 is the beginning of that of 305; yoq-web/node-1 signed both\n"
    assert (done.exit_code, done.output) == (0, said)
    shown = json.loads(kept.check("old", "new", *proof, "--json").output)
    assert shown == {"proved": True, "origin": "yoq-web/node-1", "from": 5, "to": 305}
    assert kept.check("old", "old").exit_code == 0
    assert kept.check("new", "new").exit_code == 0


def test_what_does_not_hold_is_told(kept: Kept, api: Api) -> None:
    """Two logs, an altered proof or checkpoint, the wrong way round, no proof: exit code 1 and one line."""
    proof = (kept.folder / "proof").read_bytes()
    other = Signer.generate("yoq-web/node-1")
    kept.keep("forked", sign(Checkpoint("yoq-web/node-1", 305, b"x" * 32).text, other).encode())
    kept.keep(
        "second", sign(Checkpoint("yoq-web/other", 305, b"x" * 32).text, Signer.generate("yoq-web/other")).encode()
    )
    kept.keep("altered", proof.replace(b'"hashes":["', b'"hashes":["AAAA'))
    kept.keep("empty", b'{"from":5,"to":305,"hashes":[]}')
    kept.keep("elsewhere", api("GET", "/v1/audit/log/consistency?from=4&to=305").data)
    kept.keep("nonsense", b"[]")
    both = kept.keep("keys", f"{kept.key}\n\n{other.vkey}\n".encode())
    for old, new, name, why in (
        ("old", "new", "altered", ""),
        ("old", "new", "empty", "cannot be empty"),
        ("old", "new", "elsewhere", "other sizes"),
        ("old", "new", "nonsense", "is not what"),
        ("new", "old", "proof", "the older one first"),
        ("old", "forked", "proof", "not proved"),
        ("old", "second", "proof", "not proved"),
        ("old", "nonsense", "proof", "not proved"),
    ):
        for key in (kept.key, f"@{both}"):
            done = kept.check(old, new, "--proof", str(kept.folder / name), key=key)
            assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
            assert why in done.output
    done = kept.check("old", "new")
    assert (done.exit_code, "--proof FILE or --server URL" in done.output) == (1, True)
    assert kept.check("old", "old", key=f"@{kept.folder}/none").exit_code != 0
    assert kept.check("old", "old", key=f"@{kept.keep('blank', b' ')}").exit_code != 0


def test_a_file_of_keys_is_as_good(kept: Kept, app: Flask, api: Api) -> None:
    """Whatever is checked offline takes the keys of a file, as the server answers them."""
    file = kept.keep("keys", api("GET", "/v1/audit/log/key").data)
    assert kept.check("old", "old", key=f"@{file}").exit_code == 0
    event_id = api.entries(1)[0]["event_id"]
    proof, entry = (str(kept.folder / name) for name in ("p", "e"))
    output(app, "audit", "prove", event_id, "-o", proof, "--entry", entry)
    shown = json.loads(output(app, "audit", "check-proof", proof, "--entry", entry, "--key", f"@{file}", "--json"))
    assert (shown["proved"], shown["index"], shown["size"]) == (True, 304, 305)
    assert shown["entry"].items() >= {"event_id": event_id, "action": "policy_delete", "outcome": "ok"}.items()
    assert shown["uncovered"] == []
    export = str(kept.folder / "export")
    output(app, "audit", "export", "--with-proofs", "--action", "policy_delete", "-o", export)
    shown = json.loads(output(app, "audit", "verify-export", export, "--key", f"@{file}", "--json"))
    assert shown == {
        "verified": 305,
        "origin": "yoq-web/node-1",
        "size": 306,
        "filters": {"action": ["policy_delete"]},
        "missing": 1,
        "gaps": [[305, 305]],
    }


def test_a_line_of_an_export_can_be_proved(kept: Kept, app: Flask) -> None:
    """The place that a line of ndjson has is no part of what is proved, and that is said."""
    line = output(app, "audit", "export").splitlines()[2]
    entry = kept.keep("line", f"{line}\n".encode())
    proof = str(kept.folder / "p")
    output(app, "audit", "prove", json.loads(line)["event_id"], "-o", proof)
    assert "not covered by the proof: place\n" in output(
        app, "audit", "check-proof", proof, "--entry", entry, "--key", kept.key
    )


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_server_is_asked_for_the_proof(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the token from the environment; what a server answers otherwise is told."""
    kept = Kept(tmp_path)
    kept.key = served("GET", "/v1/audit/log/key").text.strip() if served("GET", "/v1/secrets").ok else ""
    kept.keep("old", served("GET", "/v1/audit/log/checkpoint").content)
    for _ in range(3):
        served("GET", "/v1/secrets")
    kept.keep("new", served("GET", "/v1/audit/log/checkpoint").content)
    kept.key = served("GET", "/v1/audit/log/key").text.strip()
    monkeypatch.setenv("YOQ_API_TOKEN", served.environment["YOQ_API_TOKEN"])
    done = kept.check("old", "new", "--server", f"{served.url}/")
    assert (done.exit_code, done.output[:7]) == (0, "proved:"), done.output
    monkeypatch.setenv("YOQ_API_TOKEN", "wrong")
    assert "answered 401: unauthorized" in kept.check("old", "new", "--server", served.url).output
    monkeypatch.delenv("YOQ_API_TOKEN")
    assert "YOQ_API_TOKEN is not set" in kept.check("old", "new", "--server", served.url).output
    monkeypatch.setenv("YOQ_API_TOKEN", "x")
    for server, why in (
        ("http://127.0.0.1:1", "cannot be asked"),
        ("file:///etc", "is an address"),
        ("http://[", "cannot"),
    ):
        done = kept.check("old", "new", "--server", server)
        assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
        assert why in done.output
