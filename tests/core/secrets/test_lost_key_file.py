"""The key file while it is away: nothing is kept that could not be read again, and /health says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Api, MakeApp
from tests.core.hooks.test_hooks import unwrap_key, wrap_key
from tests.support.plugins import Made

SECRET = {"name": "db", "value": "hunter2"}
MISSING = {"status": "degraded", "secrets_key": "the secrets key is missing"}


def test_what_could_not_be_read_again_is_not_kept(make_app: MakeApp, tmp_path: Path) -> None:
    """A process that has the key in memory refuses, too; what was set before is read, and all works once it is back."""
    api = Api(make_app())
    assert api("GET", "/health").get_json() == {"status": "ok"}
    assert api("POST", "/v1/secrets", json=SECRET).status_code == 200
    file, away = tmp_path / "secrets.key", tmp_path / "away"
    file.rename(away)
    assert api("GET", "/health").get_json() == MISSING
    for name in ("db", "other"):
        answer = api("POST", "/v1/secrets", json=SECRET | {"name": name})
        assert (answer.status_code, answer.get_json()["error"]) == (500, "the secrets key is missing")
        assert str(file) in answer.get_json()["detail"]
    assert not file.exists()
    assert api("GET", "/v1/secrets").get_json() == ["db"]
    outcomes = [entry["outcome"] for entry in api.entries() if entry["action"] == "secret_set"]
    assert outcomes == ["failed", "failed", "ok"]
    away.rename(file)
    assert api("GET", "/health").get_json() == {"status": "ok"}
    assert api("POST", "/v1/secrets", json=SECRET).status_code == 200


def test_another_file_in_its_place_is_told(make_app: MakeApp, tmp_path: Path) -> None:
    """A key that opens nothing is no key."""
    api = Api(make_app())
    api("POST", "/v1/secrets", json=SECRET)
    (tmp_path / "secrets.key").write_bytes(bytes(32))
    assert api("GET", "/health").get_json() == {"status": "degraded", "secrets_key": "wrong key"}


@pytest.mark.parametrize("settings", [{"YOQ_MASTER_KEY": "5ec7e7" + "ab" * 29}, {}])
def test_who_has_no_key_file_misses_none(make_app: MakeApp, tmp_path: Path, settings: dict[str, str]) -> None:
    """With a key of the environment, or of a plugin, there is no file to miss."""
    kms = Made("kms", yoq_wrap_key=wrap_key, yoq_unwrap_key=unwrap_key)
    api = Api(make_app(*([] if settings else [kms]), **settings))
    for _ in range(2):
        assert api("POST", "/v1/secrets", json=SECRET).status_code == 200
        assert api("GET", "/health").get_json() == {"status": "ok"}
    assert not (tmp_path / "secrets.key").exists()
