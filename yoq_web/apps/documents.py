"""yoq's documents about a release: apply, status and history, each in the key order that its clients rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoq_web.apps.rollout.state import ReleaseState, Rollout, name_rollout_state

Document = dict[str, Any]

PREVIOUS = "previous_successful_"
COUNTERS = ("completed_targets", "failed_targets", "remaining_targets")
NO_RELEASE: Document = {
    **dict.fromkeys(("release_id", "trigger", "status", "rollout_state", "rollout_control_state")),
    **dict.fromkeys(("manifest_hash", "created_at")),
    **dict.fromkeys(COUNTERS, 0),
    **dict.fromkeys(("source_release_id", "resumed_from_release_id", "superseded_by_release_id")),
    **dict.fromkeys(("message", "failure_details", "rollout_targets", "rollout_checkpoint")),
}
"""What is said of the previous success where there was none."""

RELATED = ("resumed_from_release_id", "superseded_by_release_id")
"""Other releases of which yoq's documents tell, and of which there are none here."""


def make_apply_document(release: ReleaseState) -> Document:
    """Make the answer to an apply or a rollback. What remains counts only services that could be placed."""
    rollout = release.rollout
    return {
        "app_name": release.app,
        "trigger": release.trigger,
        "release_id": release.id,
        "status": release.status,
        "rollout_state": name_rollout_state(rollout, rollout.remaining),
        "rollout_control_state": rollout.control,
        **_count_workloads(release),
        "placed": rollout.placed,
        "failed": rollout.unplaced,
        **_count_targets(rollout, rollout.remaining),
        "source_release_id": release.source,
        "resumed_from_release_id": None,
        "message": release.message,
        **_make_outcome(rollout),
        "rollout": _make_rollout(rollout, rollout.remaining, RELATED[:1]),
    }


def make_status_document(release: ReleaseState, previous: ReleaseState | None) -> Document:
    """Make an app's status: its newest release, and the newest other one that was completed."""
    return {
        "app_name": release.app,
        "trigger": release.trigger,
        "release_id": release.id,
        **_make_standing(release),
        **_count_workloads(release),
        **_count_targets(release.rollout, release.remaining),
        "active_training_jobs": 0,
        "paused_training_jobs": 0,
        "failed_training_jobs": 0,
        **_list_related(release),
        **_make_previous(previous),
        "message": release.message,
        **_make_outcome(release.rollout),
        "rollout": _make_rollout(release.rollout, release.remaining, RELATED),
        "current_release": _make_release(release),
        "previous_successful_release": _make_release(previous, RELATED) if previous else None,
        "workloads": _list_workloads(release),
        "training_runtime": {"active": 0, "paused": 0, "failed": 0},
    }


def make_history_entry(release: ReleaseState, *, current: bool, previous: bool) -> Document:
    """Make the entry of a release in its app's history."""
    return {
        "id": release.id,
        "app": release.app,
        "service": release.app,
        "trigger": release.trigger,
        **_make_standing(release),
        **_count_workloads(release),
        **_count_targets(release.rollout, release.remaining),
        **_list_related(release),
        "message": release.message,
        **_make_outcome(release.rollout),
        "rollout": _make_rollout(release.rollout, release.remaining, RELATED),
        "is_current": current,
        "is_previous_successful": previous,
        "release": _make_release(release) | {"current": current, "previous_successful": previous},
        "workloads": _list_workloads(release),
    }


def _make_release(release: ReleaseState, related: Sequence[str] = ()) -> Document:
    """Make a document of a release as others contain it; its rollout has the members `related`."""
    return {
        "id": release.id,
        "trigger": release.trigger,
        **_make_standing(release),
        **_count_targets(release.rollout, release.remaining),
        **_list_related(release),
        "message": release.message,
        **_make_outcome(release.rollout),
        "rollout": _make_rollout(release.rollout, release.remaining, related),
    }


def _make_previous(release: ReleaseState | None) -> Document:
    """Make the members of a status document about the previous success: null without one, but its counters 0."""
    if release is None:
        return {PREVIOUS + key: value for key, value in NO_RELEASE.items()}
    whole = {"release_id": release.id} | _make_release(release)
    return {PREVIOUS + key: value for key, value in whole.items() if key not in ("id", "rollout")}


def _make_standing(release: ReleaseState) -> Document:
    return {
        "status": release.status,
        "rollout_state": name_rollout_state(release.rollout, release.remaining),
        "rollout_control_state": release.rollout.control,
        "manifest_hash": release.manifest_hash,
        "created_at": release.created_at,
    }


def _make_rollout(rollout: Rollout, remaining: int, related: Sequence[str]) -> Document:
    return {
        "state": name_rollout_state(rollout, remaining),
        "control_state": rollout.control,
        **dict.fromkeys(related),
        **_count_targets(rollout, remaining),
        "failure_details": _list_failures(rollout),
        "targets": _list_targets(rollout),
        "checkpoint": _make_checkpoint(rollout),
    }


def _make_outcome(rollout: Rollout) -> Document:
    return {
        "failure_details": _list_failures(rollout),
        "rollout_targets": _list_targets(rollout),
        "rollout_checkpoint": _make_checkpoint(rollout),
    }


def _list_failures(rollout: Rollout) -> list[Document] | None:
    """List the targets that failed, with the reasons; None if none did."""
    return [
        {"workload_kind": "service", "workload_name": target.name, "reason": target.reason}
        for target in rollout.targets
        if target.state == "failed"
    ] or None


def _list_targets(rollout: Rollout) -> list[Document] | None:
    """List every target with its state, then the services that are `kept` as they were; None if there are neither."""
    states = [(target.name, target.state, target.reason) for target in rollout.targets]
    return [
        {"workload_kind": "service", "workload_name": name, "state": state, "reason": reason}
        for name, state, reason in (*states, *((name, "kept", None) for name in rollout.kept))
    ] or None


def _make_checkpoint(rollout: Rollout) -> Document | None:
    """Say where a rollout in progress stands; None once it has ended."""
    if rollout.over:
        return None
    return {
        "engine": "cluster",
        "phase": "cutover" if rollout.phase == "delay" else "schedule",
        "batch_start": rollout.start,
        "batch_end": rollout.end,
        "total_targets": len(rollout.targets),
        "completed_targets": rollout.completed,
        "failed_targets": rollout.failed,
        "remaining_targets": rollout.remaining,
        "control_state": rollout.control,
    }


def _count_workloads(release: ReleaseState) -> Document:
    return {f"{kind.removesuffix('s')}_count": count for kind, count in _list_workloads(release).items()}


def _list_workloads(release: ReleaseState) -> Document:
    return {
        "services": release.services,
        "workers": release.workers,
        "crons": release.crons,
        "training_jobs": release.training_jobs,
    }


def _count_targets(rollout: Rollout, remaining: int) -> Document:
    return dict(zip(COUNTERS, (rollout.completed, rollout.failed, remaining), strict=True))


def _list_related(release: ReleaseState) -> Document:
    return {"source_release_id": release.source, **dict.fromkeys(RELATED)}
