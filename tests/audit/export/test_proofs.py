"""Exports with proofs: they verify offline, and whatever is done to one is told, with the line."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ADMIN, Api
from tests.support.export import export, fill_log, make_nasty_entries, read_key, verify
from tests.support.outsider import hash_leaf, hash_node, open_checkpoint
from tests.support.served import command
from tests.support.tampering import attack, find_entry, seal
from tests.support.trail import store
from yoq_audit.export.verify import ExportError
from yoq_audit.proofs.entry_leaf import make_leaf
from yoq_audit.tlog.note import Signer
from yoq_web import dumps

Lines = list[bytes]


def signed_end(lines: Lines) -> Lines:
    """The lines with an end that fits them, as who alters a file with care would write it."""
    body = b"".join(lines[:-1])
    entries = sum(b'"recorded_at"' in line for line in lines)
    end = {"end": {"entries": entries, "sha256": hashlib.sha256(body).hexdigest()}}
    return [*lines[:-1], dumps(end).encode() + b"\n"]


def test_what_is_exported_verifies(api: Api, database_url: str) -> None:
    """All entries, or those of a filter, in one or several tiles: each is verified, and what is not there is told."""
    store(database_url, make_nasty_entries())
    seal(api.app)
    everything = verify(export(api, "with_proofs=true"), read_key(api))
    assert everything.entries == everything.head.size == len(make_nasty_entries()) + 1
    assert everything.gaps == []
    for _ in range(3):
        assert api("GET", "/v1/secrets").status_code == 200
    some = verify(export(api, "with_proofs=true&action=secret_list"), read_key(api))
    assert some.filters == {"action": ["secret_list"]}
    assert some.entries == 3 == some.head.size - sum(last - first + 1 for first, last in some.gaps)
    none = verify(export(api, "with_proofs=true&actor=nobody"), read_key(api))
    assert (none.entries, none.gaps) == (0, [(0, none.head.size - 1)])


@pytest.fixture
def tiles(api: Api, database_url: str) -> tuple[Api, Lines, str]:
    """An export over three tiles, its lines, and the key."""
    fill_log(api.app, database_url, 530)
    lines = export(api, "with_proofs=true").splitlines(keepends=True)
    return api, lines, read_key(api)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_change_is_told_with_its_line(tiles: tuple[Api, Lines, str]) -> None:
    """Altered, cut off, moved, repeated, left out or added, with or without a fitting end: the line is named."""
    _, lines, key = tiles
    assert verify(b"".join(lines), key).entries == 531
    proofs = [number for number, line in enumerate(lines) if line.startswith(b'{"proof"')]
    assert proofs == [1, 258, 515]
    header = json.loads(lines[0])

    def changed(at: int, change: Callable[[bytes], bytes]) -> Lines:
        return [change(line) if number == at else line for number, line in enumerate(lines)]

    def swapped(first: int, second: int) -> Lines:
        found = list(lines)
        found[first], found[second] = found[second], found[first]
        return found

    unproved = dumps(json.loads(lines[20]) | {"id": 5}).encode() + b"\n"
    cases: list[tuple[str, Lines, int]] = [
        ("another outcome", changed(20, lambda line: line.replace(b'"outcome":"ok"', b'"outcome":"no"')), 21),
        ("another spelling", changed(20, lambda line: line.replace(b'"details":{}', b'"details": {}')), 21),
        ("another time", changed(20, lambda line: line.replace(b'"recorded_at":1', b'"recorded_at":2')), 21),
        ("a member that nothing proves", [*lines[:20], unproved, *lines[21:]], 21),
        ("an entry left out", lines[:20] + lines[21:], 21),
        ("an entry repeated", lines[:21] + lines[20:], 22),
        ("an entry added", [*lines[:258], lines[20], *lines[258:]], 259),
        ("neighbours changed places", swapped(20, 21), 21),
        ("entries of two tiles changed places", swapped(20, 300), 21),
        ("a tile repeated", lines[:258] + lines[1:], 259),
        ("tiles changed places", [lines[0], *lines[258:515], *lines[1:258], *lines[515:]], 259),
        ("a proof left out", lines[:258] + lines[259:], 259),
        ("a proof changed", changed(258, lambda line: line.replace(b'"hashes":"A', b'"hashes":"B', 1)), 259),
        ("other places", changed(1, lambda line: line.replace(b"[0,255]", b"[0,254]")), 258),
        ("a tile's places moved", changed(1, lambda line: line.replace(b"[0,255]", b"[1,256]")), 2),
        ("cut off after a line", lines[:300], 301),
        ("cut off in a line", [*lines[:300], lines[300][:50]], 301),
        ("without its end", lines[:-1], len(lines)),
        ("something behind the end", [*lines, b"\n"], len(lines) + 1),
        ("an end in the middle", [*lines[:258], lines[-1], *lines[258:]], 259),
        ("another key", changed(0, lambda line: line.replace(b"checkpoint", b"checkpoint2", 1)), 1),
    ]
    # A change that changes nothing would pass for a proof of nothing.
    sure = [case for case in cases if case[1] != lines]
    assert len(sure) >= len(cases) - 1, [case[0] for case in cases if case[1] == lines]
    for name, given, line in sure:
        for content in (given, signed_end(given)) if given[-1].startswith(b'{"end"') else (given,):
            with pytest.raises(ExportError, match=rf"^line {line}: ") as told:
                verify(b"".join(content), key)
            assert told.value, name
    # What is authentic but belongs to no entry: the hash of the end is all that covers it.
    with pytest.raises(ExportError, match=rf"^line {len(lines)}: the end does not fit"):
        verify(b"".join([dumps(header | {"filters": {"actor": ["x"]}}).encode() + b"\n", *lines[1:]]), key)
    # Who leaves a whole tile out and writes a fitting end changes no entry: what is missing is told.
    without = verify(b"".join(signed_end(lines[:258] + lines[515:])), key)
    assert without.gaps == [(256, 511)]
    with pytest.raises(ExportError, match=r"^line 1: no known key"):
        verify(b"".join(lines), Signer.generate("other.example/log").vkey)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_every_flipped_byte_of_an_entry_fails(tiles: tuple[Api, Lines, str]) -> None:
    """Each byte of an entry, its line's end included, changed in each of two ways: that line fails."""
    _, lines, key = tiles
    short = signed_end([lines[0], *lines[515:]])  # the last tile alone
    assert verify(b"".join(short), key).entries == 19
    for at in range(len(short[2])):
        for flip in (1, 0x80):
            entry = bytearray(short[2])
            entry[at] ^= flip
            content = signed_end([*short[:2], bytes(entry), *short[3:]])
            with pytest.raises(ExportError, match=r"^line 3: "):
                verify(b"".join(content), key)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_noise_is_no_export(tiles: tuple[Api, Lines, str]) -> None:
    """Whatever else a file holds is refused with a line, and with nothing worse."""
    _, lines, key = tiles
    proof = json.loads(lines[1])["proof"]
    for text in (b"", b"\n", b"{}\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"a":1}', lines[5]):
        with pytest.raises(ExportError, match=r"^line 1: "):
            verify(text, key)
    bad: list[Any] = [
        None,
        [],
        {},
        proof | {"more": 1},
        *[
            proof | {"places": places}
            for places in (None, 5, [], [5], [[0]], [[0, 2**70]], [["0", "1"]], [[1, 0]], [[-1, 2]], [[True, 2]])
        ],
        *[proof | {"hashes": hashes} for hashes in (None, 5, "", "=", proof["hashes"][:-4])],
    ]
    for value in bad:
        with pytest.raises(ExportError, match=r"^line 2: "):
            verify(b"".join([lines[0], dumps({"proof": value}).encode() + b"\n", *lines[2:]]), key)


def test_an_outsider_verifies_a_whole_export(api: Api) -> None:
    """From the description alone: leaf hashes of the entries, folded as described, give the signed root."""
    for number in range(5):
        api("POST", "/v1/policies", json={"source": f"s{number}", "target": "t", "action": "deny"})
    header, proof, *entries, end = map(json.loads, export(api, "with_proofs=true").splitlines())
    head = open_checkpoint(header["checkpoint"], read_key(api))
    assert proof["proof"]["places"] == [[0, head.size - 1]]
    joined = base64.b64decode(proof["proof"]["hashes"], validate=True)
    hashes = [joined[at : at + 32] for at in range(0, len(joined), 32)]
    assert hashes == [hash_leaf(make_leaf(entry)) for entry in entries]

    def root(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return part[0]
        middle = 1 << (len(part) - 1).bit_length() - 1
        return hash_node(root(part[:middle]), root(part[middle:]))

    assert root(hashes) == head.root
    assert end["end"]["entries"] == head.size == len(entries)


def test_an_entry_that_was_altered_in_the_database_is_told(api: Api, database_url: str) -> None:
    """The export of a log that somebody altered names the entry, and of one that lacks an entry the place."""
    for _ in range(4):
        assert api("GET", "/v1/secrets").status_code == 200
    seal(api.app)
    key = read_key(api)
    attack(database_url, f"UPDATE audit_log SET actor = 'x' WHERE id = {find_entry(database_url, 2)}")
    with pytest.raises(ExportError, match=r"^line 5: not entry 2 as it was sealed"):
        verify(export(api, "with_proofs=true"), key)
    attack(database_url, f"DELETE FROM audit_log WHERE id = {find_entry(database_url, 2)}")
    assert verify(export(api, "with_proofs=true"), key).gaps == [(2, 2)]


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_verify_export_needs_nothing_but_the_key(api: Api, tmp_path: Path) -> None:
    """The command runs with settings of no use; it says what it verified, and of a bad file the line, exit code 1."""
    assert api("GET", "/v1/secrets").status_code == 200
    file = tmp_path / "export.ndjson"
    file.write_bytes(export(api, "with_proofs=true"))
    key = read_key(api)
    useless = {"YOQ_DATABASE_URL": "nonsense", "YOQ_API_TOKEN": ADMIN}
    done = command(Path("/nonexistent"), "audit", "verify-export", str(file), "--key", key, **useless)
    assert (done.returncode, done.stderr) == (0, "")
    said = r"verified: 2 entries are in the log of 2 that yoq-web/node-1 signed\nnothing is missing\n"
    assert re.fullmatch(said, done.stdout)
    file.write_bytes(file.read_bytes().replace(b"secret_list", b"secret_lost"))
    done = command(Path("/nonexistent"), "audit", "verify-export", str(file), "--key", key, **useless)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not verified: line 3: not entry 0 as it was sealed")
