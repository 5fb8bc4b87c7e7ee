"""The documents about releases: their keys in yoq's order, and the words for where a rollout stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yoq_web.apps.documents import make_apply_document, make_history_entry, make_status_document
from yoq_web.apps.manifest.document import RolloutPolicy
from yoq_web.apps.rollout.state import ReleaseState, Rollout, Target, name_rollout_state

APPLY = """app_name trigger release_id status rollout_state rollout_control_state service_count worker_count
cron_count training_job_count placed failed completed_targets failed_targets remaining_targets source_release_id
resumed_from_release_id message failure_details rollout_targets rollout_checkpoint rollout"""
STATUS = """app_name trigger release_id status rollout_state rollout_control_state manifest_hash created_at
service_count worker_count cron_count training_job_count completed_targets failed_targets remaining_targets
active_training_jobs paused_training_jobs failed_training_jobs source_release_id resumed_from_release_id
superseded_by_release_id previous_successful_release_id previous_successful_trigger previous_successful_status
previous_successful_rollout_state previous_successful_rollout_control_state previous_successful_manifest_hash
previous_successful_created_at previous_successful_completed_targets previous_successful_failed_targets
previous_successful_remaining_targets previous_successful_source_release_id
previous_successful_resumed_from_release_id previous_successful_superseded_by_release_id previous_successful_message
previous_successful_failure_details previous_successful_rollout_targets previous_successful_rollout_checkpoint message
failure_details rollout_targets rollout_checkpoint rollout current_release previous_successful_release workloads
training_runtime"""
HISTORY = """id app service trigger status rollout_state rollout_control_state manifest_hash created_at service_count
worker_count cron_count training_job_count completed_targets failed_targets remaining_targets source_release_id
resumed_from_release_id superseded_by_release_id message failure_details rollout_targets rollout_checkpoint rollout
is_current is_previous_successful release workloads"""
RELEASE = """id trigger status rollout_state rollout_control_state manifest_hash created_at completed_targets
failed_targets remaining_targets source_release_id resumed_from_release_id superseded_by_release_id message
failure_details rollout_targets rollout_checkpoint rollout"""
PLAIN_ROLLOUT = """state control_state completed_targets failed_targets remaining_targets failure_details targets
checkpoint"""
CHECKPOINT = """engine phase batch_start batch_end total_targets completed_targets failed_targets remaining_targets
control_state"""


def release(**changes: object) -> ReleaseState:
    """A release of two services of which one is being started."""
    rollout = Rollout(
        RolloutPolicy(), (Target("a", state="ready"), Target("b", state="starting")), phase="await", completed=1
    )
    made = ReleaseState(1, "r1", "shop", "apply", None, "sha256:x", 5, 3, 0, 0, 0, rollout)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_key_order() -> None:
    """Each document has exactly yoq's keys in yoq's order, for its clients search for the text of a key."""
    found = release()
    assert list(make_apply_document(found)) == APPLY.split()
    for previous in (None, found):
        status = make_status_document(found, previous)
        assert list(status) == STATUS.split()
        assert list(status["current_release"]) == RELEASE.split()
        assert list(status["current_release"]["rollout"]) == PLAIN_ROLLOUT.split()
        assert list(status["workloads"]) == ["services", "workers", "crons", "training_jobs"]
    assert list(status["previous_successful_release"]) == RELEASE.split()
    both = ["state", "control_state", "resumed_from_release_id", "superseded_by_release_id", *PLAIN_ROLLOUT.split()[2:]]
    assert list(status["previous_successful_release"]["rollout"]) == list(status["rollout"]) == both
    entry = make_history_entry(found, current=True, previous=False)
    assert list(entry) == HISTORY.split()
    assert list(entry["release"]) == [*RELEASE.split(), "current", "previous_successful"]
    assert list(make_apply_document(found)["rollout_checkpoint"]) == CHECKPOINT.split()
    assert list(make_apply_document(found)["rollout"]) == [*both[:3], *both[4:]]


def test_without_a_previous_success() -> None:
    """All its members are null, but the three counters, which are 0."""
    found = make_status_document(release(), None)
    values = {key: value for key, value in found.items() if key.startswith("previous_successful_")}
    counters = [key for key, value in values.items() if value == 0]
    assert [key.removeprefix("previous_successful_") for key in counters] == [
        "completed_targets",
        "failed_targets",
        "remaining_targets",
    ]
    assert set(values.values()) == {None, 0}


@pytest.mark.parametrize(
    ("changes", "remaining", "word"),
    [
        ({}, 1, "starting"),
        ({"completed": 1}, 1, "rolling"),
        ({"failed": 1}, 1, "rolling"),
        ({"control": "paused", "completed": 1}, 1, "blocked"),
        ({"control": "cancel_requested"}, 1, "blocked"),
        ({"status": "completed"}, 0, "stable"),
        ({"status": "partially_failed"}, 1, "blocked"),
        ({"status": "partially_failed"}, 0, "degraded"),
        ({"status": "failed", "completed": 1}, 0, "degraded"),
        ({"status": "failed"}, 0, "failed"),
    ],
)
def test_rollout_states(changes: dict[str, object], remaining: int, word: str) -> None:
    """The state follows from status, control and counters as yoq's does."""
    rollout = replace(Rollout(RolloutPolicy(), ()), **changes)  # type: ignore[arg-type]
    assert name_rollout_state(rollout, remaining) == word


def test_messages() -> None:
    """A message is what happened, or the status; a rollback says to what."""
    assert release().message == "apply in progress"
    ended = replace(release().rollout, status="partially_failed", message="one or more placements failed")
    assert release(rollout=ended).message == "one or more placements failed"
    back = release(rollout=ended, trigger="rollback", source="r0")
    assert back.message == "rollback to r0 partially_failed: one or more placements failed"
    assert release(trigger="rollback", source="r0").message == "rollback to r0 in_progress"
