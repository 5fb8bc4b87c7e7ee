"""yoq's documents about a release: apply, status and history, each in the key order that its clients rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yoq_web.apps.rollout.machine import Rollout

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A release with how far it has got, as all documents need it."""

    number: int
    id: str
    app: str
    trigger: str
    source: str | None
    manifest_hash: str
    created_at: int
    services: int
    workers: int
    crons: int
    training_jobs: int
    rollout: Rollout

    @property
    def status(self) -> str:
        """Its status in yoq's words."""
        return self.rollout.status

    @property
    def remaining(self) -> int:
        """Services that were neither completed nor failed; those that were skipped count, as in yoq."""
        return max(0, self.services - self.rollout.completed - self.rollout.failed)

    @property
    def message(self) -> str:
        """What happened, in one line."""
        said = self.rollout.message
        if self.trigger == "rollback" and self.source:
            return f"rollback to {self.source} {self.status}" + (f": {said}" if said else "")
        words = {"partially_failed": "partially failed", "in_progress": "in progress"}
        return said or f"apply {words.get(self.status, self.status)}"


def rollout_state(rollout: Rollout, remaining: int) -> str:
    """Where a rollout stands, in yoq's word for it; it follows from the status and the counters."""
    match rollout.status:
        case "in_progress" if rollout.control != "active":
            return "blocked"
        case "in_progress":
            return "rolling" if rollout.completed or rollout.failed else "starting"
        case "completed":
            return "stable"
        case "partially_failed":
            return "blocked" if remaining else "degraded"
        case _:
            return "degraded" if rollout.completed else "failed"


def failure_details(rollout: Rollout) -> list[Document] | None:
    """The targets that failed, with the reasons; None if none did."""
    return [
        {"workload_kind": "service", "workload_name": target.name, "reason": target.reason}
        for target in rollout.targets
        if target.state == "failed"
    ] or None


def targets(rollout: Rollout) -> list[Document] | None:
    """Every target with its state; None if there are no services."""
    return [
        {"workload_kind": "service", "workload_name": target.name, "state": target.state, "reason": target.reason}
        for target in rollout.targets
    ] or None


def checkpoint(rollout: Rollout) -> Document | None:
    """Where a rollout in progress stands; None once it has ended."""
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


def apply_document(release: Snapshot) -> Document:
    """The answer to an apply or a rollback. What remains counts only services that could be placed."""
    rollout = release.rollout
    parts = _parts(rollout, rollout.remaining)
    return {
        "app_name": release.app,
        "trigger": release.trigger,
        "release_id": release.id,
        "status": release.status,
        "rollout_state": parts["state"],
        "rollout_control_state": rollout.control,
        **_counts(release),
        "placed": rollout.placed,
        "failed": rollout.unplaced,
        **_progress(rollout, rollout.remaining),
        "source_release_id": release.source,
        "resumed_from_release_id": None,
        "message": release.message,
        **_outcome(rollout),
        "rollout": {
            "state": parts["state"],
            "control_state": rollout.control,
            "resumed_from_release_id": None,
            **parts["rest"],
        },
    }


def status_document(release: Snapshot, previous: Snapshot | None) -> Document:
    """An app's status: its newest release, and the newest other one that was completed."""
    rollout = release.rollout
    return {
        "app_name": release.app,
        "trigger": release.trigger,
        "release_id": release.id,
        "status": release.status,
        "rollout_state": rollout_state(rollout, release.remaining),
        "rollout_control_state": rollout.control,
        "manifest_hash": release.manifest_hash,
        "created_at": release.created_at,
        **_counts(release),
        **_progress(rollout, release.remaining),
        "active_training_jobs": 0,
        "paused_training_jobs": 0,
        "failed_training_jobs": 0,
        **_related(release),
        **_previous(previous),
        "message": release.message,
        **_outcome(rollout),
        "rollout": _rollout(release),
        "current_release": _release(release, ids=False),
        "previous_successful_release": _release(previous, ids=True) if previous else None,
        "workloads": _workloads(release),
        "training_runtime": {"active": 0, "paused": 0, "failed": 0},
    }


def history_entry(release: Snapshot, *, current: bool, previous: bool) -> Document:
    """A release as the history lists it."""
    rollout = release.rollout
    return {
        "id": release.id,
        "app": release.app,
        "service": release.app,
        "trigger": release.trigger,
        "status": release.status,
        "rollout_state": rollout_state(rollout, release.remaining),
        "rollout_control_state": rollout.control,
        "manifest_hash": release.manifest_hash,
        "created_at": release.created_at,
        **_counts(release),
        **_progress(rollout, release.remaining),
        **_related(release),
        "message": release.message,
        **_outcome(rollout),
        "rollout": _rollout(release),
        "is_current": current,
        "is_previous_successful": previous,
        "release": _release(release, ids=False) | {"current": current, "previous_successful": previous},
        "workloads": _workloads(release),
    }


def _counts(release: Snapshot) -> Document:
    return {
        "service_count": release.services,
        "worker_count": release.workers,
        "cron_count": release.crons,
        "training_job_count": release.training_jobs,
    }


def _workloads(release: Snapshot) -> Document:
    return {
        "services": release.services,
        "workers": release.workers,
        "crons": release.crons,
        "training_jobs": release.training_jobs,
    }


def _progress(rollout: Rollout, remaining: int) -> Document:
    return {
        "completed_targets": rollout.completed,
        "failed_targets": rollout.failed,
        "remaining_targets": remaining,
    }


def _related(release: Snapshot) -> Document:
    return {
        "source_release_id": release.source,
        "resumed_from_release_id": None,
        "superseded_by_release_id": None,
    }


def _outcome(rollout: Rollout) -> Document:
    return {
        "failure_details": failure_details(rollout),
        "rollout_targets": targets(rollout),
        "rollout_checkpoint": checkpoint(rollout),
    }


def _parts(rollout: Rollout, remaining: int) -> Document:
    return {
        "state": rollout_state(rollout, remaining),
        "rest": {
            **_progress(rollout, remaining),
            "failure_details": failure_details(rollout),
            "targets": targets(rollout),
            "checkpoint": checkpoint(rollout),
        },
    }


def _rollout(release: Snapshot, *, ids: bool = True) -> Document:
    parts = _parts(release.rollout, release.remaining)
    related = {"resumed_from_release_id": None, "superseded_by_release_id": None} if ids else {}
    return {"state": parts["state"], "control_state": release.rollout.control, **related, **parts["rest"]}


def _release(release: Snapshot, *, ids: bool) -> Document:
    rollout = release.rollout
    return {
        "id": release.id,
        "trigger": release.trigger,
        "status": release.status,
        "rollout_state": rollout_state(rollout, release.remaining),
        "rollout_control_state": rollout.control,
        "manifest_hash": release.manifest_hash,
        "created_at": release.created_at,
        **_progress(rollout, release.remaining),
        **_related(release),
        "message": release.message,
        **_outcome(rollout),
        "rollout": _rollout(release, ids=ids),
    }


PREVIOUS = "previous_successful_"
COUNTERS = ("completed_targets", "failed_targets", "remaining_targets")


def _previous(release: Snapshot | None) -> Document:
    """The members of a status document about the previous success: null without one, but its counters 0."""
    if release is None:
        keys = (
            "release_id",
            "trigger",
            "status",
            "rollout_state",
            "rollout_control_state",
            "manifest_hash",
            "created_at",
        )
        rest = ("source_release_id", "resumed_from_release_id", "superseded_by_release_id")
        last = ("message", "failure_details", "rollout_targets", "rollout_checkpoint")
        nothing: Document = dict.fromkeys((*keys, *COUNTERS, *rest, *last))
        nothing.update(dict.fromkeys(COUNTERS, 0))
        return {PREVIOUS + key: value for key, value in nothing.items()}
    whole = _release(release, ids=True)
    del whole["rollout"]
    return {PREVIOUS + ("release_id" if key == "id" else key): value for key, value in whole.items()}
