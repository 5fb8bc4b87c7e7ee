"""What lies in the future is told by /health, as long as somebody can still do something about the clock."""

from __future__ import annotations

import time

from flask import Flask

from tests.conftest import Api
from tests.support.clocks import DAY, YEAR, clock_moved
from tests.support.retention import make_old_event, store
from yoq_audit.sealing import clock_watch
from yoq_web import db


def read_concern(app: Flask) -> str | None:
    """What a look says now."""
    with app.app_context():
        said = clock_watch.find_concern(db.session(), time.time_ns() // 1000)
        db.session.rollback()
    return said


def test_what_lies_in_the_future(app: Flask, api: Api) -> None:
    """An entry, for a day after it was sealed; a checkpoint, until a right one follows. Minutes are no concern."""
    store(app, [make_old_event(-600), make_old_event(0)], sealed=0)
    assert read_concern(app) is None
    [event_id, _] = store(app, [make_old_event(-10 * YEAR), make_old_event(0)], sealed=0)
    year = time.gmtime(time.time() + 10 * YEAR).tm_year
    said = read_concern(app) or ""
    assert said.startswith(f"an entry lies in the future: {event_id} is of {year}-")
    with clock_moved(2 * DAY):
        assert read_concern(app) is None
    store(app, [make_old_event(0)], sealed=-10 * YEAR)
    with clock_moved(2 * DAY):
        assert (read_concern(app) or "").startswith(f"the newest checkpoint lies in the future: it was made {year}-")
    with app.app_context():
        clock_watch.look()
        db.session.remove()
    answer = api("GET", "/health").get_json()
    assert (answer["status"], "lies in the future" in answer["plugins"]["audit"]) == ("degraded", True)
    store(app, [make_old_event(0)], sealed=0)
    with clock_moved(2 * DAY):
        assert read_concern(app) is None
    with clock_moved(-YEAR):  # by the clock of a machine that is behind, all that others store lies in the future
        assert "the newest checkpoint lies in the future" in (read_concern(app) or "")
