"""The announcements of the log's keys over HTTP: who knows an old key finds the newest, whatever was pruned."""

from __future__ import annotations

import time

import pytest
from flask import Flask

from tests.audit.sealing.test_log_key import LOG, follow, rotate
from tests.conftest import Api
from tests.support.outsider import open_checkpoint
from tests.support.retention import minimum, old_log, prune
from tests.support.tampering import log_of

PATH = f"{LOG}/key/announcements"
TWO_DAYS = 2 * 86_400 * 1_000_000_000


def test_keys_are_followed_after_their_entries_were_pruned(
    app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notes that both keys signed are served for ever: the entries that carried them go with their bundle."""
    log_of(app, 1)
    first = api("GET", f"{LOG}/key").text.strip()
    assert api("GET", PATH).json == []
    keys = [first, rotate(app), rotate(app)]
    notes = [entry["details"]["announcement"] for entry in api.entries() if entry["action"] == "audit_key_rotate"]
    assert api("GET", PATH).json == notes[::-1]
    old_log(app, 260)
    now = time.time_ns
    with monkeypatch.context() as later:
        later.setattr(time, "time_ns", lambda: now() + TWO_DAYS)
        assert prune(app) == minimum(api) == 256
    assert api("GET", "/v1/audit?action=audit_key_rotate").json == []
    key = first
    for announcement in api("GET", PATH).json or []:
        key = follow(announcement, key)
    assert key == keys[-1]
    assert open_checkpoint(api("GET", f"{LOG}/checkpoint").text, key).size == 264
    reader = api.token("audit:read")
    assert reader("GET", PATH).json == notes[::-1]
    assert api.token("secrets:read", name="other")("GET", PATH).status_code == 403


def test_before_the_first_entry_there_is_nothing_to_announce(api: Api) -> None:
    """An empty log answers 404, as it does for its key."""
    assert api("GET", PATH).status_code == 404
