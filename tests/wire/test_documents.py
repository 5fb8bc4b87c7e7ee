"""The keys of yoq's documents, in its order: its clients find a member by the first text that looks like it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import MakeApp
from tests.support.agents import Cluster

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

PROGRESS = "completed_targets failed_targets remaining_targets"
COUNTS = "service_count worker_count cron_count training_job_count"
RELATED = "source_release_id resumed_from_release_id superseded_by_release_id"
OUTCOME = "message failure_details rollout_targets rollout_checkpoint"
STATE = "status rollout_state rollout_control_state"
ROLLOUT = "state control_state {ids}" + f"{PROGRESS} failure_details targets checkpoint"
IDS = "resumed_from_release_id superseded_by_release_id "

APPLY = (
    f"app_name trigger release_id {STATE} {COUNTS} placed failed {PROGRESS} source_release_id resumed_from_release_id"
)
STATUS = (
    f"app_name trigger release_id {STATE} manifest_hash created_at {COUNTS} {PROGRESS} active_training_jobs "
    f"paused_training_jobs failed_training_jobs {RELATED} "
    + " ".join(
        f"previous_successful_{key}"
        for key in f"release_id trigger {STATE} manifest_hash created_at {PROGRESS} {RELATED} {OUTCOME}".split()
    )
    + f" {OUTCOME} rollout current_release previous_successful_release workloads training_runtime"
)
RELEASE = f"id trigger {STATE} manifest_hash created_at {PROGRESS} {RELATED} {OUTCOME} rollout"
ENTRY = (
    f"id app service trigger {STATE} manifest_hash created_at {COUNTS} {PROGRESS} {RELATED} {OUTCOME} rollout "
    "is_current is_previous_successful release workloads"
)
CHECKPOINT = (
    "engine phase batch_start batch_end total_targets completed_targets failed_targets remaining_targets control_state"
)

MANIFEST = {
    "app_name": "käse",
    "services": [
        {"name": "web", "image": "web:1", "rollout": {"health_check_timeout": 60}},
        {"name": "db", "image": "d"},
    ],
    "crons": [{"name": "nightly"}],
}


def keys(document: Any) -> str:
    """The keys of an object, as one text."""
    assert isinstance(document, dict)
    return " ".join(document)


def test_the_documents_of_apps(make_app: MakeApp) -> None:
    """While a rollout is under way and after it, with and without a release before it: always the same keys."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    for step in ("first", "second"):
        applied = cluster.operator("POST", "/apps/apply", json=MANIFEST).get_json()
        assert keys(applied) == f"{APPLY} {OUTCOME} rollout", step
        assert (
            keys(applied["rollout"])
            == f"state control_state resumed_from_release_id {PROGRESS} failure_details targets checkpoint"
        )
        assert keys(applied["rollout_checkpoint"]) == keys(applied["rollout"]["checkpoint"]) == CHECKPOINT
        assert keys(applied["rollout_targets"][0]) == "workload_kind workload_name state reason"
        for assignment in cluster.agents("GET", f"/agents/{agent}/assignments").get_json() * 2:
            path = f"/agents/{agent}/assignments/{assignment['id']}/status"
            cluster.agents("POST", path, json={"status": "running"})
            for pending in cluster.agents("GET", f"/agents/{agent}/assignments").get_json():
                path = f"/agents/{agent}/assignments/{pending['id']}/status"
                cluster.agents("POST", path, json={"status": "running"})
        status = cluster.operator("GET", "/apps/käse/status").get_json()
        assert status["status"] == "completed", step
        assert keys(status) == STATUS, step
        assert keys(status["rollout"]) == ROLLOUT.format(ids=IDS)
        assert keys(status["current_release"]) == RELEASE
        assert keys(status["current_release"]["rollout"]) == ROLLOUT.format(ids="")
        assert keys(status["workloads"]) == "services workers crons training_jobs"
        assert keys(status["training_runtime"]) == "active paused failed"
        assert cluster.operator("GET", "/apps").get_json() == [status]
    assert keys(status["previous_successful_release"]) == RELEASE
    assert keys(status["previous_successful_release"]["rollout"]) == ROLLOUT.format(ids=IDS)
    history = cluster.operator("GET", "/apps/käse/history").get_json()
    assert [keys(entry) for entry in history] == [ENTRY, ENTRY]
    assert keys(history[0]["release"]) == f"{RELEASE} current previous_successful"
    assert [(entry["is_current"], entry["is_previous_successful"]) for entry in history] == [
        (True, False),
        (False, True),
    ]


def test_no_success_before(make_app: MakeApp) -> None:
    """Then everything of the release before is null, but for its three counters, which are 0."""
    cluster = Cluster(make_app)
    cluster.join()
    cluster.operator("POST", "/apps/apply", json={"app_name": "a", "services": [{"name": "w", "image": "i"}]})
    status = cluster.operator("GET", "/apps/a/status").get_json()
    before = {key.removeprefix("previous_successful_"): value for key, value in status.items() if "previous_" in key}
    assert {key for key, value in before.items() if value == 0} == set(PROGRESS.split())
    assert {value for key, value in before.items() if key not in PROGRESS.split()} == {None}


def test_the_diff_and_the_text(make_app: MakeApp) -> None:
    """The diff's keys; and every document is compact, with names as they are, not escaped."""
    cluster = Cluster(make_app)
    answer = cluster.operator("POST", "/apps/dry-run", json=MANIFEST)
    diff = answer.get_json()
    assert keys(diff) == "app_name proposed_manifest_hash current_release_id current_manifest_hash summary changes"
    assert keys(diff["summary"]) == "create update delete unchanged"
    assert [" ".join(change.values()) for change in diff["changes"]] == [
        "service web create",
        "service db create",
        "cron nightly create",
    ]
    assert answer.get_data() == json.dumps(diff, separators=(",", ":"), ensure_ascii=False).encode()
    assert '"app_name":"käse"' in answer.get_data().decode()


def test_lists_stay_within_what_the_client_takes(make_app: MakeApp) -> None:
    """Of many agents only what `yoq nodes` shows, of a long history the newest; never more than 64 KiB."""
    cluster = Cluster(make_app)
    few = [cluster.join(labels="l" * 100) for _ in range(2)]
    whole = cluster.operator("GET", "/agents").get_json()
    assert [agent["labels"] for agent in whole] == ["l" * 100] * 2
    for _ in range(118):
        cluster.join(labels="l" * 500, address="1" * 60)
    answer = cluster.operator("GET", "/agents")
    assert len(answer.get_data()) < 63 * 1024
    short = answer.get_json()
    assert len(short) == 120
    assert [agent["id"] for agent in short[:2]] == few
    assert list(short[0]) == [
        *("id", "address", "status", "cpu_cores", "memory_mb", "cpu_used", "memory_used_mb", "containers")
    ]
    body = {"app_name": "a", "services": [{"name": f"{number}" * 250, "image": "i"} for number in range(4)]}
    for _ in range(40):
        newest = cluster.operator("POST", "/apps/apply", json=body).get_json()["release_id"]
    answer = cluster.operator("GET", "/apps/a/history")
    assert len(answer.get_data()) < 63 * 1024
    assert 10 < len(answer.get_json()) < 40
    assert answer.get_json()[0]["id"] == newest
    assert len(cluster.operator("GET", "/v1/apps/a/history").get_json()) == 40
