"""The log as Go's own library sees it, which knows none of our software: skipped where Go and the library are not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask

from tests.conftest import ADMIN, Api
from tests.support.commandline import output
from tests.support.door import acting
from tests.support.log_keys import rotate
from tests.support.retention import make_old_log, prune, read_vkey
from tests.support.served import Served
from tests.support.tampering import add_entries, attack, find_entry
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer, sign
from yoq_web.policies.operations import add_policy

sqlite = pytest.mark.parametrize("backend", ["sqlite"])
HERE = Path(__file__).parent
GO = shutil.which("go") or ""
NOTHING_FETCHED = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}

Auditor = Callable[..., str]
"""Runs the program; gives what it printed, or `NOT verified: …`."""


def go(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the go command on the auditor's module."""
    return subprocess.run(
        [GO, *arguments],
        cwd=HERE,
        env=os.environ | NOTHING_FETCHED,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The auditor, built."""
    if not GO:
        pytest.skip("Go is not installed")
    if (missing := go("mod", "download")).returncode:
        pytest.skip(f"run `go mod download` in tests/foreign: {missing.stderr.strip()}")
    built = tmp_path_factory.mktemp("foreign") / "foreign"
    done = go("build", "-o", str(built), ".")
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture
def auditor(program: Path) -> Auditor:
    """The auditor with the administrator's token."""

    def run(*arguments: object) -> str:
        environment = os.environ | {"LOG_TOKEN": ADMIN}
        done = subprocess.run(
            [program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode == 0) == (done.stderr == ""), done
        return done.stdout if done.returncode == 0 else done.stderr

    return run


@contextmanager
def between(log: Served, wanted: str) -> Iterator[str]:
    """The address of somebody who hands on what the log answers, with one bit changed below the path `wanted`."""

    class Forger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer as the log does, or nearly."""
            found = log("GET", self.path)
            content = found.content
            if wanted in self.path:
                at = len(content) // 2
                content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            self.send_response(found.status_code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forger) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/audit/log"
        server.shutdown()


def test_the_program_is_in_order(program: Path) -> None:
    """It is formatted, and Go's own checks find nothing."""
    assert go("vet", ".").returncode == 0
    formatted = subprocess.run(
        [shutil.which("gofmt") or Path(go("env", "GOROOT").stdout.strip(), "bin", "gofmt"), "-l", HERE],
        capture_output=True,
        text=True,
        check=True,
    )
    assert formatted.stdout == ""


@pytest.mark.program
@sqlite
def test_the_log_verifies_as_it_grows(auditor: Auditor, app: Flask, api: Api, served: Served, tmp_path: Path) -> None:
    """At each size about a full tile, under a new key and with entries gone: with what was known and kept before."""
    make_old_log(app, 254)
    arguments = ("-log", f"{served.url}/v1/audit/log", "-key", read_vkey(api), "-kept", tmp_path / "kept", "-every", 50)
    assert auditor(*arguments).startswith("all 254 entries are in the signed tree; 0 of them are not served any more")
    for size in (255, 256, 257):
        make_old_log(app, 1)
        said = auditor(*arguments)
        assert f"all {size} entries are in the signed tree; 0 of them" in said
        assert f"the {size - 1} entries of the checkpoint that was kept are its beginning" in said
    add_entries(app, 1)  # young, so that its bundle stays
    ids = make_old_log(app, 300)
    keys = [rotate(app), rotate(app)]
    said = auditor(*arguments)
    assert [line.rpartition(" ")[2] for line in said.splitlines()[:2]] == keys
    assert "all 560 entries are in the signed tree; 0 of them" in said
    assert prune(app) == 256
    said = auditor(*arguments, "-key", keys[0])
    assert said.startswith(f"the log has a new key: {keys[1]}\nall 561 entries are in the signed tree; 256 of them")
    output(app, "audit", "erase", ids[100], "--reason", "asked for", "--yes")
    said = auditor(*arguments)
    assert "all 562 entries are in the signed tree; 512 of them are not served" in said
    assert "the 561 entries of the checkpoint that was kept are its beginning" in said


@sqlite
def test_a_proof_is_checked_offline(auditor: Auditor, app: Flask, api: Api, tmp_path: Path) -> None:
    """The proof of an entry holds with the log's key and the entry's JSON, and not if anything of them is changed."""
    add_entries(app, 2)
    with acting(app):
        add_policy('wé"b', "d\u2028b", "deny")
    event = api.entries(1)[0]["event_id"]
    proof, entry = tmp_path / "entry.tlog-proof", tmp_path / "entry.json"
    output(app, "audit", "prove", event, "-o", str(proof), "--entry", str(entry))
    offline = ("-proof", proof, "-entry", entry, "-key")
    assert auditor(*offline, read_vkey(api)).startswith(f'entry 2 of 3 is: {{"version":1,"event_id":"{event}",')
    assert auditor(*offline, Signer.generate("yoq-web/node-1").vkey).startswith("NOT verified")
    for file, was, now in ((entry, "deny", "allow"), (proof, "index 2", "index 1"), (proof, "\n3\n", "\n4\n")):
        whole = file.read_text()
        file.write_text(whole.replace(was, now))
        assert file.read_text() != whole
        assert auditor(*offline, read_vkey(api)).startswith("NOT verified"), now
        file.write_text(whole)


@pytest.mark.program
@sqlite
def test_what_was_changed_is_noticed(auditor: Auditor, app: Flask, api: Api, served: Served, tmp_path: Path) -> None:
    """One bit of any answer, an entry changed in the database, or a log cut back: each time it says NOT verified."""
    make_old_log(app, 300)
    kept, database = tmp_path / "kept", f"sqlite:///{tmp_path / 'yoq.db'}"
    arguments = ("-key", read_vkey(api), "-kept", kept, "-every", 100)
    honest = ("-log", f"{served.url}/v1/audit/log", *arguments)
    auditor(*honest)
    old = kept.read_bytes()
    add_entries(app, 1)
    for path in (
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/1",
        "entries/000",
        "entries/001",
        "/proof",
        "consiste",
    ):
        with between(served, path) as address:
            assert auditor("-log", address, *arguments).startswith("NOT verified: "), path
            assert kept.read_bytes() == old
    assert auditor(*honest).startswith("all 301 entries")
    attack(database, f"UPDATE audit_log SET target = 'x' WHERE id = {find_entry(database, 7)}")
    assert auditor(*honest) == "NOT verified: entry 7 is not the one in the signed tree\n"
    key = Signer.decode((tmp_path / "log.key").read_text().strip())
    kept.write_text(sign(Checkpoint(key.name, 400, b"x" * 32).text, key))
    assert auditor(*honest).startswith("NOT verified: ")
