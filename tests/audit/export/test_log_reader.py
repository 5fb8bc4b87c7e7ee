"""Reading the sealed log by place, as a plugin does: through what the audit plugin publishes, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import yoq_audit
from tests.conftest import Api
from tests.support.backup import begin_anew
from tests.support.commandline import output
from tests.support.export import fill_log
from tests.support.pages import blocks, page, section
from tests.support.retention import make_old_log
from tests.support.tampering import seal
from yoq_web import Problem, db


def read(app: Flask, place: int = 0, **how: Any) -> yoq_audit.LogPage:
    """Read a page in a context of the application."""
    with app.app_context():
        return yoq_audit.read_log(place, **how)


def test_an_empty_log(app: Flask) -> None:
    """There is nothing, of no log, and nothing to go on at."""
    assert read(app) == yoq_audit.LogPage("", 0, 0, (), 0)


def test_everything_is_read_once_in_order(app: Flask, database_url: str) -> None:
    """Page by page each entry comes at its place, as the export has it; what is not sealed yet is not there."""
    fill_log(app, database_url, 25)
    place = 0
    found: list[yoq_audit.SealedEntry] = []
    while (got := read(app, place, limit=10)).next_place > place:
        assert (got.minimum, got.size) == (0, 25)
        assert len(got.entries) <= 10
        found += got.entries
        place = got.next_place
    assert [entry.place for entry in found] == list(range(25))
    lines = output(app, "audit", "export").splitlines()
    assert [entry.document["event_id"] for entry in found] == [json.loads(line)["event_id"] for line in lines[:25]]
    assert [json.loads(entry.line) for entry in found] == [entry.document for entry in found]
    assert read(app, 24).entries[0].document["target"] == "target-24"
    assert read(app, 10_000).next_place == 10_000
    assert found[7].line in lines[7]


def test_filters_leave_out_what_they_do_everywhere(app: Flask, database_url: str) -> None:
    """Only what is meant is read, and the next place is behind all that was looked at."""
    fill_log(app, database_url, 25)
    got = read(app, 3, actor=["actor-1", "actor-2"], limit=3)
    assert [entry.place for entry in got.entries] == [6, 7, 11]
    assert got.next_place == 12
    got = read(app, 12, actor=["actor-1"], until="2026-09-21T14:13:40Z")
    assert ([entry.place for entry in got.entries], got.next_place) == ([16], 25)
    with pytest.raises(Problem, match="unknown parameter"):
        read(app, actors=["actor-1"])
    for wrong in ({"place": -1}, {"limit": 0}):
        with pytest.raises(ValueError, match="place"):
            read(app, **wrong)


def test_a_page_is_of_bounded_size(app: Flask, database_url: str) -> None:
    """However much is asked for at once."""
    fill_log(app, database_url, 1100)
    got = read(app, limit=5000)
    assert (len(got.entries), got.next_place) == (1024, 1024)


def test_the_callers_session_is_left_alone(app: Flask, database_url: str) -> None:
    """What a plugin has in its session is neither committed nor rolled back."""
    fill_log(app, database_url, 3)
    with app.app_context():
        before = db.session.connection()
        assert len(yoq_audit.read_log().entries) == 3
        assert db.session.connection() is before


def test_what_was_pruned_is_told(app: Flask) -> None:
    """The minimum index says what is gone; reading from before it begins there."""
    make_old_log(app, 600)
    output(app, "audit", "prune", "--older-than", "1d")
    got = read(app, 5)
    assert got.minimum == 512
    assert got.entries[0].place == 512


def test_another_log_has_another_id(app: Flask, api: Api, backend: str, tmp_path: Path) -> None:
    """A rotation of keys leaves the log's id as it is; a log that begins anew has another."""
    api("POST", "/v1/secrets", json={"name": "a", "value": "v"})
    seal(app)
    first = read(app).log
    assert first
    output(app, "audit", "key", "rotate")
    assert read(app).log == first
    begin_anew(app, backend, tmp_path)
    seal(app)
    assert read(app).log not in ("", first)


def test_the_documented_sink_misses_nothing(app: Flask, tmp_path: Path, backend: str) -> None:
    """The example of the documentation ships every entry, and what it cannot ship it says."""
    [code] = blocks(section(page("plugins/api.md"), "The sealed log"), "python")
    shipped: list[dict[str, Any]] = []
    module: dict[str, Any] = {"ship": shipped.append}
    exec(code, module)  # noqa: S102 - the documentation's own

    pulse = module["yoq_pulse"]

    def beat() -> None:
        with app.app_context():
            pulse()

    make_old_log(app, 600)
    beat()
    assert [found["place"] for found in shipped] == list(range(600))
    beat()
    assert len(shipped) == 600
    output(app, "audit", "prune", "--older-than", "1d")
    (tmp_path / "ship.mark").write_text((tmp_path / "ship.mark").read_text().replace("600", "100"))
    shipped.clear()
    beat()
    assert shipped[0] == {"gap": "places 100 to 511 were pruned before they were shipped"}
    assert [found["place"] for found in shipped[1:]] == list(range(512, 512 + len(shipped) - 1))
    begin_anew(app, backend, tmp_path)
    seal(app)
    shipped.clear()
    beat()
    assert shipped[0]["gap"].startswith("the log began anew; it was ")
    assert shipped[1]["place"] == 0
