"""Archives: what was pruned can be checked offline and read back, and nothing else passes for it."""

from __future__ import annotations

import io
import json
import resource
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Api
from tests.support.commandline import failure, output
from tests.support.retention import count_entries, make_old_event, make_old_log, prune, read_minimum, read_vkey, store
from tests.support.served import PROGRAM
from tests.support.tampering import verify_log
from yoq_audit.retention.archive_reader import Archive, ArchiveError, read_archive
from yoq_audit.retention.commands import archives
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Signer, Verifier

DAY = 86400


def offline(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program on a machine that has neither our settings nor our database."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "YOQ_DATA_DIR": "/dev/null/none"}
    return subprocess.run(
        [PROGRAM, "audit", "archive", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def opened(file: Path, *vkeys: str) -> tuple[Archive, dict[int, dict[str, Any]]]:
    """What an archive says with these keys, and its entries by index."""
    entries: dict[int, dict[str, Any]] = {}
    return read_archive(file, [Verifier.from_vkey(vkey) for vkey in vkeys], entries.__setitem__), entries


def repacked(content: bytes, change: dict[str, bytes | None], file: Path) -> Path:
    """An archive with other contents of these names, or without them."""
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(file, "w") as new:
        for member in old:
            kept = old.extractfile(member)
            assert kept is not None
            data = change.get(member.name, kept.read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    return file


def packed(files: list[tuple[str, bytes]], file: Path) -> Path:
    """An archive of these files."""
    with tarfile.open(file, "w") as new:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return file


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """No file of this process can become longer than this, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_archived_is_read_back(app: Flask, api: Api, database_url: str, tmp_path: Path) -> None:
    """An archive holds every pruned entry as it was sealed, is private, and has the hash that the trail names."""
    # The first has details too long for a leaf; the second will be erased.
    ids = store(app, [make_old_event(3 * DAY, 0, "é" * 40_000), make_old_event(3 * DAY, 1, "personal")])
    ids += make_old_log(app, 700)
    before = {entry["event_id"]: entry for entry in api.entries(500)}
    output(app, "audit", "erase", ids[1], "--reason", "asked", "--yes")
    first, second = tmp_path / "first.tar", tmp_path / "second.tar.gz"
    said = json.loads(output(app, "audit", "prune", "--older-than", "1d", "--archive", str(first), "--json"))
    assert (said["minimum_before"], said["minimum_after"], said["entries"]) == (0, 512, 511)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    details = api.entries(1)[0]["details"]
    assert details["archive"] == "first.tar"
    assert details["archive_sha256"] == said["archive_sha256"] == sha256(first.read_bytes()).hexdigest()
    assert details["archive_bytes"] == said["archive_bytes"] == first.stat().st_size
    found, entries = opened(first, read_vkey(api))
    assert (found.first, found.end, found.entries, found.erased) == (0, 512, 511, [1])
    assert found.sha256 == said["archive_sha256"]
    assert [entries[index]["event_id"] for index in sorted(entries)] == [ids[0], *ids[2:512]]
    assert entries[0]["details"] == {"word": "é" * 40_000}
    for index, entry in entries.items():
        if shown := before.get(ids[index]):
            assert {name: entry[name] for name in entry if name != "time"} == {
                name: shown[name] for name in entry if name != "time"
            }
    assert b"personal" not in first.read_bytes()
    assert verify_log(app)["ok"]
    assert "nothing to prune" in output(app, "audit", "prune", "--older-than", "1d", "--archive", str(second))
    assert not second.exists()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_offline(app: Flask, api: Api, tmp_path: Path) -> None:
    """Without settings, data or database the program checks an archive and prints its entries; compressed, too."""
    ids = make_old_log(app, 300)
    file = tmp_path / "old.tar.gz"
    assert prune(app, "--archive", str(file)) == 256
    done = offline("list", str(file), "--key", read_vkey(api))
    assert (done.returncode, done.stderr) == (0, "")
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["event_id"] for entry in printed] == ids[:256]
    assert printed[7]["details"] == {"word": "plain"}
    said = CliRunner().invoke(archives, ["verify", str(file), "--key", read_vkey(api)]).output.splitlines()
    assert said == [
        "the archive holds: 256 entries, numbers 0 to 255 of the 300 that yoq-web/node-1 signed; 0 erased",
        f"SHA-256 {sha256(file.read_bytes()).hexdigest()}",
    ]
    refused = CliRunner().invoke(archives, ["verify", str(file), "--key", Signer.generate("yoq-web/node-1").vkey])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "no known key signed the note" in refused.stderr


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_tampered_archive(app: Flask, api: Api, tmp_path: Path) -> None:
    """An archive that lacks something, has something else, or any byte of which matters and was changed, is refused."""
    make_old_log(app, 600)
    file, other = tmp_path / "old.tar", tmp_path / "other.tar"
    prune(app, "--archive", str(file))
    vkey, content = read_vkey(api), file.read_bytes()
    with tarfile.open(file) as tar:
        names = tar.getnames()
        parts = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]  # all are files
    assert {"archive.json", "checkpoint", "tile/1/000.p/2", "tile/0/002.p/88", "tile/entries/001"} < set(names)
    for name in names:
        with pytest.raises(LogError):
            opened(repacked(content, {name: None}, other), vkey)
    listed = list(parts.items())
    for at in range(len(listed)):
        for changed in (
            [*listed[:at], listed[at], *listed[at:]],
            [*listed[:at], *listed[at : at + 2][::-1], *listed[at + 2 :]],
            [*listed[:at], ("tile/2/000", bytes(8192)), *listed[at:]],
            [*listed[:at], (listed[at][0], listed[at][1] + bytes(32)), *listed[at + 1 :]],
        ):
            if changed != listed:
                with pytest.raises(LogError):
                    opened(packed(changed, other), vkey)
    description = json.loads(parts["archive.json"])
    claims: list[dict[str, Any]] = [
        {"first": 256},
        {"end": 256},
        {"end": 768},
        {"entries": 511},
        {"entries": "512"},
        {"version": 2},
        {"erased": [{"index": 3, "event_id": "x", "announced_by": "y", "details": '{"index":3,"signature":"z"}'}]},
        {"erased": [{}]},
    ]
    for claim in claims:
        with pytest.raises(LogError):
            opened(repacked(content, {"archive.json": json.dumps(description | claim).encode()}, other), vkey)
    entries = parts["tile/entries/000"]
    length = int.from_bytes(entries[:2], "big")
    for forged in (
        entries.replace(b"tester", b"nobody", 1),
        b"\0\0" + entries[2 + length :],
        entries[2 + length :],
        entries[:-9],
    ):
        with pytest.raises(LogError):
            opened(repacked(content, {"tile/entries/000": forged}, other), vkey)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(content) - 1), st.integers(1, 255))
    def any_byte(at: int, change: int) -> None:
        other.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
        try:
            _, found = opened(other, vkey)
        except LogError:
            return
        assert found == whole  # in the padding, or in a name's rest that no reader looks at

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, len(content) - 11_000))
    def any_length(length: int) -> None:
        other.write_bytes(content[:length])
        with pytest.raises(LogError):
            opened(other, vkey)

    _, whole = opened(file, vkey)
    any_byte()
    any_length()
    other.write_bytes(b"no archive")
    with pytest.raises(ArchiveError):
        opened(other, vkey)


def test_a_full_disk_prunes_nothing(app: Flask, api: Api, database_url: str, tmp_path: Path) -> None:
    """Where the archive cannot be written, no half of it is left, nothing is announced and nothing goes."""
    make_old_log(app, 300)
    folder = tmp_path / "archives"
    folder.mkdir()
    with no_room_beyond(20_000):
        said = failure(app, "audit", "prune", "--older-than", "1d", "--archive", str(folder / "old.tar"))
    assert "the archive cannot be written" in said
    assert "File too large; nothing was pruned" in said
    assert list(folder.iterdir()) == []
    output(app, "audit", "key")  # with which the spool is handed over, where there was no room for the record either
    assert (count_entries(database_url), read_minimum(api)) == (300 + 1, 0)
    attempt = api.entries(1)[0]
    shown = (attempt["action"], attempt["target"], attempt["outcome"], attempt["reason"])
    assert shown == ("audit_prune", "0-255", "failed", "the archive cannot be written")
    (folder / "old.tar").write_text("mine")
    assert "old.tar is there already" in failure(
        app, "audit", "prune", "--older-than", "1d", "--archive", str(folder / "old.tar")
    )
    assert (folder / "old.tar").read_text() == "mine"
    assert "No such file" in failure(
        app, "audit", "prune", "--older-than", "1d", "--archive", str(folder / "none" / "old.tar")
    )
    assert count_entries(database_url) == 300 + 3
    assert [path.name for path in folder.iterdir()] == ["old.tar"]
