"""Archives: what was pruned can be checked offline and read back, and nothing else passes for it."""

from __future__ import annotations

import json
import stat
import subprocess
from hashlib import sha256
from pathlib import Path

from flask import Flask

from tests.commandline import output
from tests.conftest import Api
from tests.retention.kit import old_event, old_log, store
from tests.served import PROGRAM
from tests.tampering import fill, seal


def key_of(api: Api) -> str:
    """The log's public key."""
    return api("GET", "/v1/audit/log/key").text.strip()


def offline(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program on a machine that has neither our settings nor our database."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    return subprocess.run(
        [PROGRAM, "audit", "archive", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_what_was_archived_is_read_back(app: Flask, api: Api, database_url: str, tmp_path: Path) -> None:
    """The archive holds every pruned entry as it was sealed, is private, and has the hash that the trail names."""
    long = [old_event(9 * 86400, 999, "é" * 40_000)]
    ids = [*store(app, long), *old_log(app, 600)]
    fill(app, 3)
    seal(app)
    before = {entry["event_id"]: entry for entry in api.entries(500)}
    assert before.keys() < {*ids, *before}
    file = tmp_path / "old.tar.gz"
    said = json.loads(output(app, "audit", "prune", "--older-than", "1d", "--archive", str(file), "--json"))
    assert (said["minimum_before"], said["minimum_after"], said["entries"]) == (0, 512, 512)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    details = api.entries(1)[0]["details"]
    assert details["archive"] == "old.tar.gz"
    assert details["archive_sha256"] == said["archive_sha256"] == sha256(file.read_bytes()).hexdigest()
    assert details["archive_bytes"] == file.stat().st_size
    print(offline("verify", str(file), "--key", key_of(api)))
    print(offline("list", str(file), "--key", key_of(api)).stdout[-1000:])
