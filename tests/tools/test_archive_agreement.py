"""Archives, before the auditor's verifier and the program: of each altered file both say the same."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.commandline import output
from tests.support.judges import Judges, flip, repack
from tests.support.retention import make_old_event, make_old_log, prune, read_vkey, store
from yoq_web import dumps

DAY = 86400

MEMBER: dict[str, Callable[[str, bytes], list[tuple[str, bytes]]]] = {
    "left out": lambda _name, _data: [],
    "twice": lambda name, data: [(name, data)] * 2,
    "empty": lambda name, _data: [(name, b"")],
    "renamed": lambda name, data: [(f"{name}x", data)],
    "below another folder": lambda name, data: [(f"./{name}", data)],
    "behind something else": lambda name, data: [("more", b""), (name, data)],
    "behind a tile": lambda name, data: [("tile/2/000", bytes(8192)), (name, data)],
    "behind details of no entry": lambda name, data: [("details/5.json", b"{}"), (name, data)],
    "cut off": lambda name, data: [(name, data[:-1])],
    "longer": lambda name, data: [(name, data + b"\0")],
    "a hash longer": lambda name, data: [(name, data + bytes(32))],
    "without its first hash": lambda name, data: [(name, data[32:])],
    "its first bit": lambda name, data: [(name, flip(data, 0, 0x80))],
    "a bit in its middle": lambda name, data: [(name, flip(data, len(data) // 2, 1))],
    "its last bit": lambda name, data: [(name, flip(data, len(data) - 1, 1))],
}
"""What is done to one file of an archive."""


@pytest.mark.parametrize("backend", ["sqlite"])
def test_altered_archives(app: Flask, api: Api, judges: Judges, tmp_path: Path) -> None:
    """Each file of an archive is altered, and what it says of itself; encrypted it is told to be so."""
    ids = store(app, [make_old_event(3 * DAY, 0, "é" * 40_000), make_old_event(3 * DAY, 1, "personal")])
    make_old_log(app, 300)
    output(app, "audit", "erase", ids[1], "--reason", "asked", "--yes")
    file = tmp_path / "old.tar"
    assert prune(app, "--archive", str(file)) == 255
    content, vkey = file.read_bytes(), read_vkey(api)
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert names[2:] == [
        *("tile/0/001.p/47", "tile/1/000.p/1", "details/0.json", "tile/0/000", "tile/entries/000"),
    ]
    for altered in names:
        for how, change in MEMBER.items():
            accepts = judges.ask("archive", {"archive": repack(content, altered, change)}, vkey)
            # In the middle of archive.json is which entry announced an erasure, which nothing proves.
            assert not accepts or (altered, how) == ("archive.json", "a bit in its middle"), (altered, how)
    with tarfile.open(file) as tar:
        said = json.load(tar.extractfile("archive.json"))  # type: ignore[arg-type]  # it is a file
    erased = said["erased"][0]
    details = json.loads(erased["details"])
    claims: list[Any] = [
        *({"first": 256}, {"first": "0"}, {"first": -256}, {"end": 512}, {"end": 255}, {"end": 2**70}, {"end": 256.0}),
        *({"entries": 254}, {"entries": "255"}, {"version": 2}, {"erased": []}, {"erased": None}, {"erased": [{}]}),
        *(
            {"erased": [erased | change]}
            for change in ({"index": 2}, {"index": "1"}, {"event_id": "x"}, {"details": None})
        ),
        *({"erased": [erased | {"event_id": f"{erased['event_id']}\nplace 7"}]}, {"erased": [erased, 5]}),
        *(
            {"erased": [erased | {"details": json.dumps(details | change)}]}
            for change in ({"index": 2}, {"index": "1"}, {"started_index": 0}, {"signature": ""}, {"signature": None})
        ),
    ]
    for claim in claims:
        changed = [("archive.json", dumps(said | claim).encode())]
        other = repack(content, "archive.json", lambda _name, _data: changed)  # noqa: B023 - called at once
        assert not judges.ask("archive", {"archive": other}, vkey), claim
    for armour in (b"age-encryption.org/v1\n-> X25519 x\n", b"-----BEGIN AGE ENCRYPTED FILE-----\n"):
        assert not judges.ask("archive", {"archive": armour + content}, vkey)
        assert "it is encrypted" in judges.said
    for noise in (b"", b"no archive", content[:700], content[: len(content) // 2], b"\x1f\x8b" + content):
        assert not judges.ask("archive", {"archive": noise}, vkey)
