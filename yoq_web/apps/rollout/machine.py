"""The rollout machine: how a release replaces the one before, batch by batch.

Pure: what is seen goes in, decisions come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yoq_web.apps.rollout.state import Control, Rollout, Status, Target

ALL_PLACED = "all placements succeeded"
NOT_PLACED = "one or more placements failed"
NOT_READY = "one or more rollout targets failed readiness checks"
CANCELED = "rollout canceled by operator"

REASONS = frozenset(
    {
        "image_pull_failed",
        "rootfs_assemble_failed",
        "container_id_failed",
        "container_record_failed",
        "start_failed",
        "readiness_timeout",
        "readiness_failed",
        "readiness_invalid",
        "process_failed",
    }
)
"""What agents may say of a failure; anything else counts as `assignment_failed`."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of an assignment: `pending`, `running`, `stopped` or `failed`, with the agent's reason."""

    status: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Find places for these targets and tell note_placements() what came of it."""

    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Activate:
    """These targets take over: what ran under their names goes, to be kept for a while if it may have to come back."""

    targets: tuple[int, ...]
    keep: bool


@dataclass(frozen=True, slots=True)
class Discard:
    """These targets do not take over: their assignments go."""

    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Revert:
    """Everything that this release brought goes, and what it replaced comes back."""


@dataclass(frozen=True, slots=True)
class Finish:
    """It has ended. With `stop_dropped` the services that are not in the release any more are stopped."""

    stop_dropped: bool


Decision = Place | Activate | Discard | Revert | Finish
Transition = tuple[Rollout, tuple[Decision, ...]]
"""How the rollout stands next, and what is to be done in the same transaction; nothing to do means that it waits."""


def set_control(rollout: Rollout, control: Control) -> Rollout:
    """Put the rollout under an operator's command. A cancellation cannot be taken back."""
    if rollout.over or rollout.control == "cancel_requested":
        return rollout
    return replace(rollout, control=control)


def advance(rollout: Rollout, seen: Mapping[str, Observation], now: int) -> Transition:
    """Take the next step, from what is seen of its assignments. To be repeated until there is nothing to do."""
    if rollout.over:
        return rollout, ()
    if rollout.control == "cancel_requested":
        return _cancel(rollout)
    if rollout.phase == "await":
        return _judge_batch(rollout, seen, now)
    if rollout.control == "paused" or (rollout.phase == "delay" and now < (rollout.until or 0)):
        return rollout, ()
    if not rollout.batch:
        return _finish(rollout)
    return replace(rollout, phase="place", until=None), (Place(tuple(rollout.batch)),)


def note_placements(rollout: Rollout, made: Mapping[int, tuple[str, ...]], now: int) -> Transition:
    """Go on after a Place: `made` has the assignments of each target that found a place."""
    found = tuple(place for place in rollout.batch if made.get(place))
    missed = tuple(place for place in rollout.batch if place not in found)
    rollout = _change_targets(rollout, missed, state="failed", reason="placement_failed")
    for place in found:
        rollout = _change_targets(rollout, (place,), state="starting", assignments=made[place])
    rollout = replace(
        rollout,
        failed=rollout.failed + len(missed),
        unplaced=rollout.unplaced + sum(rollout.targets[place].parts for place in missed),
    )
    if not found:
        return _finish(rollout)
    if missed and rollout.policy.failure_action == "rollback":
        return _revert(rollout)
    if rollout.policy.timeout:
        return replace(rollout, phase="await", until=now + rollout.policy.timeout), ()
    return _cut_over(rollout, found, (), now)


def _judge_batch(rollout: Rollout, seen: Mapping[str, Observation], now: int) -> Transition:
    starting = [place for place in rollout.batch if rollout.targets[place].state == "starting"]
    verdicts = {place: _judge_target(rollout, rollout.targets[place], seen, now) for place in starting}
    broken = tuple(place for place in starting if isinstance(verdicts[place], str))
    if broken and rollout.policy.failure_action == "rollback":
        # The others need not be waited for: they would be undone as well.
        for place in broken:
            rollout = _change_targets(rollout, (place,), state="failed", reason=verdicts[place])
        return _revert(replace(rollout, failed=rollout.failed + len(starting)))
    if any(verdict is None for verdict in verdicts.values()):
        return rollout, ()
    for place in broken:
        rollout = _change_targets(rollout, (place,), state="failed", reason=verdicts[place])
    rollout = replace(rollout, failed=rollout.failed + len(broken))
    return _cut_over(rollout, tuple(place for place in starting if place not in broken), broken, now)


def _judge_target(rollout: Rollout, target: Target, seen: Mapping[str, Observation], now: int) -> str | bool | None:
    """Return True if the target is ready, the reason if it is not and never will be, None if that is open."""
    for assignment in target.assignments:
        found = seen.get(assignment)
        if found is None:
            return "assignment_missing"
        if found.status in ("failed", "stopped"):
            return found.reason if found.reason in REASONS else "assignment_failed"
    if all(seen[assignment].status == "running" for assignment in target.assignments):
        return True
    return "readiness_timeout" if now >= (rollout.until or 0) else None


def _cut_over(rollout: Rollout, ready: tuple[int, ...], broken: tuple[int, ...], now: int) -> Transition:
    rollout = _change_targets(rollout, ready, state="ready")
    rollout = replace(
        rollout,
        completed=rollout.completed + len(ready),
        placed=rollout.placed + sum(len(rollout.targets[place].assignments) for place in ready),
    )
    decisions: list[Decision] = []
    if broken:
        decisions.append(Discard(broken))
    if ready:
        decisions.append(Activate(ready, keep=rollout.policy.failure_action == "rollback"))
    if any(rollout.targets[place].state == "failed" for place in rollout.batch):
        rollout, last = _finish(rollout)
        return rollout, (*decisions, *last)
    waits = rollout.policy.delay and rollout.end < len(rollout.targets)
    until = now + rollout.policy.delay if waits else None
    rollout = replace(rollout, phase="delay" if waits else "place", start=rollout.end, until=until)
    return rollout, tuple(decisions)


def _revert(rollout: Rollout) -> Transition:
    touched = tuple(place for place, target in enumerate(rollout.targets) if target.state in ("starting", "ready"))
    rollout = _change_targets(rollout, touched, state="rolled_back", reason="rollback_reverted")
    rollout, last = _finish(replace(rollout, completed=0, placed=0, reverted=True))
    return rollout, (Revert(), *last)


def _cancel(rollout: Rollout) -> Transition:
    touched = rollout.placed or rollout.failed
    if rollout.policy.failure_action == "rollback":
        rollout, decisions = _revert(rollout)
        touched = rollout.failed
    else:
        flying = tuple(place for place in rollout.batch if rollout.targets[place].state == "starting")
        rollout = _change_targets(rollout, flying, state="rolled_back", reason="canceled")
        rollout, decisions = _finish(rollout)
        decisions = (Discard(flying), *decisions) if flying else decisions
    status: Status = "partially_failed" if touched else "failed"
    # It is not what the manifest asked for, even if all of it that was begun went well.
    decisions = tuple(Finish(stop_dropped=False) if isinstance(item, Finish) else item for item in decisions)
    return replace(rollout, status=status, message=CANCELED), decisions


def _finish(rollout: Rollout) -> Transition:
    status: Status = "failed"
    if not rollout.failed:
        status = "completed"
    elif rollout.completed:
        status = "partially_failed"
    message = ALL_PLACED
    if rollout.unplaced:
        message = NOT_PLACED
    elif rollout.failed:
        message = NOT_READY
    rollout = replace(rollout, status=status, control="active", until=None, message=message)
    return rollout, (Finish(stop_dropped=status == "completed"),)


def _change_targets(rollout: Rollout, places: Sequence[int], **changes: Any) -> Rollout:
    targets = list(rollout.targets)
    for place in places:
        targets[place] = replace(targets[place], **changes)
    return replace(rollout, targets=tuple(targets))
