"""The example of a manifest is one, and has every key that is read."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from tests.support.pages import block, page
from yoq_web.apps.manifest import toml

EXAMPLE = block(page("apps/manifest.md"), "toml")
asked: set[str] = set()


class Table(dict[str, Any]):
    """A table that notes what it is asked for."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as any table does."""
        asked.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        asked.add(str(key))
        return super().__contains__(key)


def watched(value: Any) -> Any:
    """Make tables that note what they are asked for out of all tables in a value."""
    return Table({key: watched(below) for key, below in value.items()}) if isinstance(value, dict) else value


def keys(value: Any) -> set[str]:
    """Return every key in a value."""
    return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()


def test_the_example_can_be_applied() -> None:
    """It makes a request with everything that it names."""
    document = json.loads(toml.make_request_body(EXAMPLE, "shop", {}))
    assert [len(document[kind]) for kind in ("services", "workers", "crons", "training_jobs")] == [3, 1, 1, 2]


def test_the_example_has_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is read that it does not show, but for one that is refused, and it shows none that is not read."""
    real = tomllib.loads
    monkeypatch.setattr("tomllib.loads", lambda text: watched(real(text)))
    toml.make_request_body(EXAMPLE, "shop", {})
    shown = keys(real(EXAMPLE))
    assert asked - shown == {"peer"}  # which is refused
    names = {"web", "api", "shadow", "migrate", "report", "model", "small", "shop"}
    assert shown - asked - names == set()
