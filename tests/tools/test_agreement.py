"""The auditor's verifier and the program, which share no code: of each file, good or altered, both say the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import output
from tests.support.export import export, make_nasty_entries
from tests.support.judges import Judges, hold_against
from tests.support.log_keys import LOG
from tests.support.retention import make_old_event, make_old_log, prune, read_vkey, store
from tests.support.tampering import make_log, seal
from tests.support.trail import make_entry
from tests.support.trail import store as store_rows
from yoq_audit.proofs.entry_leaf import UNPROVED
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.note import Signer, sign
from yoq_web import dumps

DAY = 86400
sqlite = pytest.mark.parametrize("backend", ["sqlite"])

RESPELLED = {
    *(
        "line 0: another line end",
        "line 0: a space at its end",
        "line 0: a space before it",
        "behind a byte order mark",
    ),
    *("line 0: an empty line before it", "a line behind it", "in another encoding"),
}
"""The JSON of a consistency proof, which nobody signed, may be written in any way: its hashes are what proves."""


def get(api: Api, path: str) -> bytes:
    """What is at a path."""
    answer = api("GET", path)
    assert answer.status_code == 200, answer.text
    content: bytes = answer.data
    return content


def prove(api: Api, event_id: str) -> dict[str, bytes]:
    """An entry and its proof."""
    path = f"/v1/audit/entries/{event_id}"
    return {"proof": get(api, f"{path}/proof"), "entry": get(api, path)}


def test_what_the_log_answers(app: Flask, api: Api, judges: Judges, database_url: str, tmp_path: Path) -> None:
    """Checkpoints of several sizes, proofs between them, of entries of any text, exports and archives hold for both."""
    ids = store(app, [make_old_event(3 * DAY, 0, "é" * 40_000), make_old_event(3 * DAY, 1, "personal")])
    make_old_log(app, 700)
    store_rows(database_url, make_nasty_entries())
    vkey = read_vkey(api)
    sizes = {}
    for _ in range(3):
        note = get(api, f"{LOG}/checkpoint")
        sizes[int(note.split(b"\n")[1])] = note
        make_log(app, 1)
    for old, first in sizes.items():
        assert judges.ask("checkpoint", {"checkpoint": first}, vkey)
        for new, second in sizes.items():
            if old <= new:
                proof = get(api, f"{LOG}/consistency?from={old}&to={new}")
                assert judges.ask("consistency", {"old": first, "new": second, "proof": proof}, vkey)
    for entry in [*api.entries(40), {"event_id": ids[0]}]:
        assert judges.ask("entry", prove(api, entry["event_id"]), vkey), judges.said
    output(app, "audit", "erase", ids[1], "--reason", "asked", "--yes")
    for query in ("", "&actor=%3D1%2B1", "&actor=nobody", "&action=retention_test"):
        assert judges.ask("export", {"export": export(api, f"with_proofs=true{query}")}, vkey), judges.said
    archive = tmp_path / "old.tar.gz"
    assert prune(app, "--archive", str(archive)) == 511
    assert judges.ask("archive", {"archive": archive.read_bytes()}, vkey), judges.said


@sqlite
def test_altered_checkpoints(app: Flask, api: Api, judges: Judges) -> None:
    """A checkpoint, and two with a proof, are altered everywhere, and told of other logs and sizes."""
    make_log(app, 5)
    vkey, old = read_vkey(api), get(api, f"{LOG}/checkpoint")
    make_log(app, 8)
    new = get(api, f"{LOG}/checkpoint")
    assert hold_against(judges, "checkpoint", {"checkpoint": new}, vkey, 23) == {"checkpoint: line 4 twice"}
    proof = get(api, f"{LOG}/consistency?from=5&to=13")
    files = {"old": old, "new": new, "proof": proof}
    accepted = hold_against(judges, "consistency", files, vkey, 97)
    assert accepted == {"old: line 4 twice", "new: line 4 twice", *(f"proof: {how}" for how in RESPELLED)}
    said = json.loads(proof)
    hashes = said["hashes"]
    others: list[Any] = [
        *(
            said | {"hashes": found}
            for found in ([], hashes[:-1], hashes[1:], hashes * 2, hashes[::-1], None, "x", [5])
        ),
        *(said | {"hashes": [*hashes, extra]} for extra in (hashes[0], "", "AAAA", hashes[0][:-4])),
        *(said | sizes for sizes in ({"from": 4}, {"to": 12}, {"from": "5"}, {"from": None})),
        *([], {}, None, 5, "x", {"from": 5, "to": 13}),
    ]
    for other in others:
        assert not judges.ask("consistency", files | {"proof": dumps(other).encode()}, vkey), other
    nothing = dumps({"from": 5, "to": 5, "hashes": []}).encode()
    assert judges.ask("consistency", {"old": old, "new": old, "proof": nothing}, vkey)
    assert not judges.ask("consistency", {"old": new, "new": old, "proof": proof}, vkey)
    assert not judges.ask("checkpoint", {"checkpoint": new}, Signer.generate("yoq-web/node-1").vkey)


def test_forged_checkpoints(judges: Judges) -> None:
    """Whatever the log's key signs that is no checkpoint, or is that of another log, is none; a fork is told."""
    key, stranger = Signer.generate("example.com/log"), Signer.generate("example.com/other")
    root = Checkpoint("a", 5, b"r" * 32).text.split("\n")[2]
    empty = Checkpoint("example.com/log", 0, hashlib.sha256().digest()).text
    good = f"example.com/log\n5\n{root}\n"
    for text in (good, empty, f"{good}an extension\n"):
        assert judges.ask("checkpoint", {"checkpoint": sign(text, key, stranger).encode()}, key.vkey)
    both = sign(good, key, stranger)
    line = both.splitlines(keepends=True)[-1]
    assert judges.ask("checkpoint", {"checkpoint": (both + line * 98).encode()}, key.vkey)
    for spoilt in (
        *(both.replace("/other", other) for other in ("/ot\x1bher", "/ot her", "/ot+her", "/ot\u2003her", "/ot\0her")),
        *(both.replace("\u2014 example.com/other", other) for other in ("- example.com/other", "\u2014", "\u2014  x")),
        *(both + line * 99, both + "x", both + "\n", both.replace(line, f"{line}\n"), both.replace(line, line[:-6])),
        both.replace(line, "\u2014 example.com/other AAAAAA==\n"),
    ):
        assert not judges.ask("checkpoint", {"checkpoint": spoilt.encode()}, key.vkey), spoilt
    bad = [
        *(
            "\n",
            "example.com/log\n",
            "example.com/log\n5\n",
            f"5\n{root}\n",
            f"\n5\n{root}\n",
            f"{good}\n\n",
            f"{good}\nx\n",
        ),
        *(
            f"example.com/log\n{size}\n{root}\n"
            for size in ("", "x", "05", "+5", "-5", " 5", "5 ", "5_0", "0", "\u0665")
        ),
        *(f"example.com/log\n{size}\n{root}\n" for size in (2**64, 10**30, "5.0", "1e3")),
        *(
            f"example.com/log\n5\n{other}\n"
            for other in ("", "AAAA", root[:-1], f"{root}A", root[:-2] + "N=", " " + root)
        ),
        good.replace("/log", "/other"),
    ]
    for text in bad:
        assert not judges.ask("checkpoint", {"checkpoint": sign(text, key).encode()}, key.vkey), text
    other = Checkpoint("example.com/log", 5, b"s" * 32).text
    fork = {"old": sign(good, key).encode(), "new": sign(other, key).encode()}
    assert not judges.ask("consistency", fork | {"proof": b'{"from":5,"to":5,"hashes":[]}'}, key.vkey)
    assert "NOT the beginning" in judges.said


@sqlite
def test_altered_entries(app: Flask, api: Api, judges: Judges) -> None:
    """An entry and its proof are altered everywhere, in every member, and exchanged for another's."""
    make_log(app, 7)
    vkey = read_vkey(api)
    files = prove(api, api.entries()[3]["event_id"])
    accepted = hold_against(judges, "entry", files, vkey, 43)
    assert accepted <= {"entry: a line behind it", *(f"proof: line {at} twice" for at in range(9, 12))}
    other = prove(api, api.entries()[2]["event_id"])
    assert not judges.ask("entry", files | {"proof": other["proof"]}, vkey)
    assert not judges.ask("entry", files | {"entry": other["entry"]}, vkey)
    entry = json.loads(files["entry"])
    unproved = set(UNPROVED)
    for name in unproved:
        assert judges.ask("entry", files | {"entry": dumps(entry | {name: 5}).encode()}, vkey)
        assert name in judges.said.partition("not covered by the proof: ")[2].split()
    for name, value in entry.items():
        others: list[Any] = [None, "x", 0, True, {}, [value], f"{value} "]
        for changed in others:
            accepts = judges.ask("entry", files | {"entry": dumps(entry | {name: changed}).encode()}, vkey)
            assert accepts == (name in unproved or (changed == value and type(changed) is type(value))), (name, changed)
        without = dumps({key: entry[key] for key in entry if key != name}).encode()
        assert judges.ask("entry", files | {"entry": without}, vkey) == (name in unproved)
    for member in ({"more": 1}, {"details_sha256": "0" * 64}):
        assert not judges.ask("entry", files | {"entry": dumps(entry | member).encode()}, vkey)
    assert judges.ask("entry", files | {"entry": dumps(dict(reversed(entry.items()))).encode()}, vkey)
    for time in ("2026-02-30", "2026-13-01", "0000-01-01"):
        moved = entry | {"time": time + entry["time"][10:]}
        assert not judges.ask("entry", files | {"entry": dumps(moved).encode()}, vkey)
    extra = files["proof"].replace(b"\nindex", b"\nextra QQ==\nindex", 1)
    assert judges.ask("entry", files | {"proof": extra}, vkey)
    for spoilt in (extra.replace(b"QQ==", b""), extra.replace(b"QQ==", b"QR=="), extra.replace(b"extra", b"more", 1)):
        assert not judges.ask("entry", files | {"proof": spoilt}, vkey)


def end(lines: list[bytes]) -> bytes:
    """The lines of an export with an end that fits them, as who alters a file with care would write it."""
    body = b"".join(lines)
    entries = sum(b'"recorded_at"' in line for line in lines)
    return body + dumps({"end": {"entries": entries, "sha256": hashlib.sha256(body).hexdigest()}}).encode() + b"\n"


@sqlite
def test_altered_exports(app: Flask, api: Api, judges: Judges, database_url: str) -> None:
    """An export over three tiles is altered everywhere, with and without an end that fits."""
    rows = make_nasty_entries()
    store_rows(database_url, rows + [make_entry(number, actor=f"a-{number % 80}") for number in range(len(rows), 600)])
    seal(app)
    vkey = read_vkey(api)
    some = export(api, "with_proofs=true&actor=a-61")
    assert some.count(b'{"proof"') == 3
    assert hold_against(judges, "export", {"export": some}, vkey, 211) == set()
    lines = some.splitlines(keepends=True)[:-1]
    assert judges.ask("export", {"export": end(lines)}, vkey)
    accepted = []
    for at, line in enumerate(lines):
        for how, altered in (
            ("left out", [*lines[:at], *lines[at + 1 :]]),
            ("twice", [*lines[: at + 1], *lines[at:]]),
            ("behind the next", [*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]]),
            ("altered", [*lines[:at], line.replace(b'"ok"', b'"no"').replace(b"[", b"[[0,0],", 1), *lines[at + 1 :]]),
            ("respelled", [*lines[:at], line.replace(b",", b", ", 1), *lines[at + 1 :]]),
            ("nothing behind it", lines[: at + 1]),
        ):
            if altered != lines and judges.ask("export", {"export": end(altered)}, vkey):
                accepted.append((how, at))
    # Nothing proves the filters of the header.
    accepted.remove(("altered", 0))
    # Tiles that are left out at the end cannot be told from what the filter left out: they are said to be missing.
    assert {how for how, _ in accepted} <= {"nothing behind it"}
    places = json.loads(lines[1])["proof"]["places"]
    for wrong in (
        [],
        [[0, 0]],
        [[5]],
        [[0, 2**70]],
        [[True, 2]],
        [["0", "1"]],
        [[1, 0]],
        [[-1, 2]],
        places * 2,
        None,
        5,
    ):
        proof = dumps({"proof": json.loads(lines[1])["proof"] | {"places": wrong}}).encode() + b"\n"
        assert not judges.ask("export", {"export": end([lines[0], proof, *lines[2:]])}, vkey), wrong
    header = json.loads(lines[0])
    claims: list[dict[str, Any]] = [{"yoq_audit_export": 2}, {"filters": []}, {"checkpoint": 5}, {"checkpoint": ""}]
    for claim in [*claims, {"more": 1}]:
        assert not judges.ask("export", {"export": end([dumps(header | claim).encode() + b"\n", *lines[1:]])}, vkey)
    root = json.loads(lines[1])["proof"] | {"places": [], "hashes": header["checkpoint"].split("\n")[2]}
    assert not judges.ask("export", {"export": end([lines[0], dumps({"proof": root}).encode() + b"\n"])}, vkey)
