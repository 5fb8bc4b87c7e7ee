"""External operations whose process or machine dies: what it left open is closed once, and what is forged is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from structlog.testing import capture_logs

from tests.conftest import ADMIN, Api, MakeApp
from tests.core.operations.test_external import intents, rows
from tests.core.operations.test_external_outages import recover, shown
from tests.core.operations.test_failure_policy import no_audit_log, spooled
from tests.support.commandline import failure, output, run
from tests.support.depot import Depot, depot_push, leave_intent
from tests.support.door import acting
from tests.support.served import environment
from yoq_web.hooks.host import current_host
from yoq_web.operations import external
from yoq_web.operations.mac import INTENTS, KEY_FILE
from yoq_web.operations.spool import SUSPECT, current_spool
from yoq_web.operations.spool_file import LOCK


def begun(tmp_path: Path, database_url: str, target: str) -> tuple[subprocess.Popen[str], str]:
    """A process in the middle of an external operation, and the event's id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.depot", target],
        env=environment(tmp_path, YOQ_DATABASE_URL=database_url, YOQ_API_TOKEN=ADMIN),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_what_a_killed_process_left_open_was_interrupted(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """After kill -9 one entry `interrupted` is read, once somebody looks; what another process runs is left alone."""
    killed, event_id = begun(tmp_path, database_url, "killed")
    living, other_id = begun(tmp_path, database_url, "living")
    app = make_app(depot := Depot())
    with app.app_context():
        external.sweep()
    assert (shown(app, event_id), shown(app, other_id)) == (("started", None), ("started", None))
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=20)
    assert app.test_cli_runner().invoke(args=["policy", "list"]).exit_code == 0  # any command looks
    assert (shown(app, event_id), shown(app, other_id)) == (("interrupted", None), ("started", None))
    with app.app_context():
        external.sweep()
    assert [outcome for found, outcome in rows(database_url) if found == event_id] == ["started", "interrupted"]
    assert intents(tmp_path) == [f"{other_id}.json"]
    living.communicate("", timeout=20)
    assert living.returncode == 0
    with app.app_context():
        external.sweep()
    assert shown(app, other_id) == ("ok", None)
    assert [outcome for found, outcome in rows(database_url) if found == other_id] == ["started", "ok"]
    current_host(app).drain(10)
    assert [(event.target, event.outcome) for event in depot.failed] == [("killed", "interrupted")]
    actors = {
        (entry["target"], entry["actor"], entry["details"].get("os_user") is None) for entry in Api(app).entries()
    }
    assert actors == {("killed", "local", False), ("living", "local", False)}
    late = {(entry["target"], "stored_at" in entry["details"]) for entry in Api(app).entries()}
    assert late == {("killed", True), ("living", False)}


def test_a_crash_at_any_other_moment(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """After the outcome it changes nothing; before the intent was stored, or in the spool, one entry is left."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        file = tmp_path / INTENTS / f"{undertaking.event.id}.json"
        left = file.read_bytes()
        undertaking.add(size=5)
    file.write_bytes(left)
    earlier = json.loads(left) | {"id": undertaking.event.id[:-4] + "beef", "target": "before the intent"}
    leave_intent(tmp_path, earlier)
    (tmp_path / INTENTS / "torn.json").write_bytes(left[:40])
    (tmp_path / INTENTS / "empty.json").touch()
    leave_intent(tmp_path, {"id": "strange"})
    with app.app_context():
        external.sweep()
    set_aside = ["strange.unreadable", "torn.unreadable"]
    assert intents(tmp_path) == set_aside
    found = [(entry["target"], entry["outcome"]) for entry in Api(app).entries()]
    assert found == [("before the intent", "interrupted"), ("north", "ok")]
    with acting(app), no_audit_log(database_url):
        leave_intent(tmp_path, earlier | {"id": earlier["id"][:-4] + "cafe"})
        external.sweep()
    assert [line["event"]["outcome"] for line in spooled(tmp_path)] == ["interrupted"]
    assert intents(tmp_path) == set_aside
    recover(app)
    assert [entry["outcome"] for entry in Api(app).entries()] == ["interrupted", "interrupted", "ok"]
    assert Api(app)("GET", "/health").json == {"status": "ok"}


def test_an_intent_that_somebody_wrote_is_not_believed(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """What was altered, forged or put under another name leaves no entry: it is set aside, and `/health` says so."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        left = (tmp_path / INTENTS / f"{undertaking.event.id}.json").read_text()
    other = undertaking.event.id[:-4] + "beef"
    edits = {
        other: left.replace(undertaking.event.id, other),
        undertaking.event.id: left.replace("north", "south"),
        "forged": '{"id":"forged"}',
        "moved": left,
    }
    for number, (name, content) in enumerate([*edits.items(), *edits.items()], 1):
        (tmp_path / INTENTS / f"{name}.json").write_text(content)
        with capture_logs() as logs, app.app_context():
            external.sweep()
        assert [line["why"] for line in logs] == ["an intent was altered or added"]
        assert intents(tmp_path) == []
        assert Api(app)("GET", "/health").json == {"status": "degraded", "spool_suspect": number}
        assert json.loads((tmp_path / SUSPECT).read_text().splitlines()[-1])["line"] == content
    assert [outcome for _, outcome in rows(database_url)] == ["started", "ok"]


def test_an_intent_of_an_earlier_version_is_taken_once(make_app: MakeApp, tmp_path: Path) -> None:
    """What was left before intents were signed is settled; afterwards an unsigned one is somebody's."""
    app = make_app(Depot())
    with acting(app), depot_push.undertaken("north") as undertaking:
        left = json.loads((tmp_path / INTENTS / f"{undertaking.event.id}.json").read_text())
    del left["mac"]
    for name in (KEY_FILE, LOCK):
        (tmp_path / name).unlink()
    for number, settled in ((1, True), (2, False)):
        event_id = undertaking.event.id[:-4] + f"000{number}"
        (tmp_path / INTENTS / f"{event_id}.json").write_text(json.dumps(left | {"id": event_id}))
        with (later := make_app(Depot())).app_context():
            external.sweep()
        assert (event_id in [entry["event_id"] for entry in Api(later).entries()]) == settled
        assert current_spool(later).suspect == (not settled)


def test_what_a_lost_machine_left_open_is_settled_by_hand(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """`audit settle` is for another machine's entry that says `started`; it asks, is recorded, and settles it once."""
    lost = make_app(Depot(), YOQ_NODE="lost", YOQ_DATA_DIR=str(tmp_path / "lost"))
    app = make_app(Depot())
    with acting(lost), depot_push.undertaken("north") as undertaking:
        event_id = undertaking.event.id
        assert "settled within a second" in failure(lost, "audit", "settle", event_id)
        assert run(app, "audit", "settle", event_id, stdin="n\n").exit_code == 1
        assert shown(app, event_id) == ("started", None)
        assert output(app, "audit", "settle", event_id, "--yes") == "interrupted\n"
        assert shown(app, event_id) == ("interrupted", None)
        assert "its outcome is interrupted" in failure(app, "audit", "settle", event_id)
        assert "there is no entry" in failure(app, "audit", "settle", "nobody")
    entry = Api(app)("GET", f"/v1/audit/entries/{event_id}").json or {}
    assert (entry["node"], entry["reason"]) == ("lost", "settled by hand: its machine is gone")
    assert entry["details"]["stored_at"] >= entry["recorded_at"]
    [settling] = [found for found in Api(app).entries() if found["action"] == "audit_settle"]
    assert (settling["target"], settling["details"]["machine"]) == (event_id, "lost")
