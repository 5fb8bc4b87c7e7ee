"""Pruning: what is old goes, whole bundles at a time, and everything that was ever signed still holds."""

from __future__ import annotations

import json

from flask import Flask

from tests.commandline import output, run
from tests.conftest import Api
from tests.retention.kit import minimum, old_event, old_log, store, stored
from tests.tampering import fill, seal, verified


def test_prune(app: Flask, api: Api, database_url: str) -> None:
    """x."""
    ids = old_log(app, 600)
    fill(app, 10)
    seal(app)
    print(output(app, "audit", "prune", "--older-than", "1d", "--dry-run"))
    print(output(app, "audit", "prune", "--older-than", "1d"))
    assert stored(database_url) == 600 - 512 + 10 + 1
    assert minimum(api) == 512
    print(api("GET", f"/v1/audit/entries/{ids[3]}").text)
    print(api("GET", f"/v1/audit/entries/{ids[3]}/proof").text)
    print(api("GET", f"/v1/audit/log/tile/entries/001").text)
    print(api.entries(1))
    print(output(app, "audit", "prune", "--older-than", "1d"))
