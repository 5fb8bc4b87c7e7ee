"""A rollout's state: all there is to know of how far a release has got, so that any process can go on with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from yoq_web.apps.manifest.document import RolloutPolicy

Control = Literal["active", "paused", "cancel_requested"]
Status = Literal["in_progress", "completed", "partially_failed", "failed"]
TargetState = Literal["pending", "starting", "ready", "failed", "rolled_back"]
Phase = Literal["place", "await", "delay"]
Waiting = Literal["readiness", "delay", "operator"]


@dataclass(frozen=True, slots=True)
class Target:
    """A service of the release, how far it has got, and the assignments that were made for its `parts`.

    `reason` is yoq's word for why it failed; `explanation` says it to people.
    """

    name: str
    parts: int = 1
    state: TargetState = "pending"
    reason: str | None = None
    assignments: tuple[str, ...] = ()
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout. `start` is its batch's first target, `until` when readiness or the delay ends (seconds since 1970).

    `placed` and `unplaced` count assignments, `completed` and `failed` targets, as yoq counts them. `kept` are the
    services of the release that are none of its targets: they stay as they were.
    """

    policy: RolloutPolicy
    targets: tuple[Target, ...]
    control: Control = "active"
    status: Status = "in_progress"
    phase: Phase = "place"
    start: int = 0
    until: int | None = None
    placed: int = 0
    unplaced: int = 0
    completed: int = 0
    failed: int = 0
    reverted: bool = False
    message: str | None = None
    kept: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status != "in_progress"

    @property
    def failure(self) -> str | None:
        """Why it failed, wholly or in part, in words for people; None if it did not, or not yet."""
        if self.status not in ("failed", "partially_failed"):
            return None
        said = (f"{one.name}: {one.explanation or one.reason}" for one in self.targets if one.state == "failed")
        return ": ".join(part for part in (self.message, "; ".join(said)) if part)

    @property
    def end(self) -> int:
        """One past the batch's last target."""
        match self.policy.strategy:
            case "blue_green":
                size = len(self.targets)
            case "canary" if self.start == 0:
                size = 1
            case _:
                size = self.policy.parallelism
        return min(self.start + size, len(self.targets))

    @property
    def batch(self) -> range:
        """The targets of the batch, by their places."""
        return range(self.start, self.end)

    @property
    def remaining(self) -> int:
        """How many targets were neither completed nor failed."""
        return len(self.targets) - self.completed - self.failed

    @property
    def waiting(self) -> Waiting | None:
        """What it waits for; None if it has ended or can go on at once."""
        if self.over or self.control == "cancel_requested":
            return None
        if self.phase == "await":
            return "readiness"
        if self.control == "paused":
            return "operator"
        return "delay" if self.phase == "delay" else None

    @property
    def due_at(self) -> int | None:
        """When it must be looked at again even if nothing happens: 0 is at once, None never."""
        if self.over or self.waiting == "operator":
            return None
        return 0 if self.waiting is None else self.until


@dataclass(frozen=True, slots=True)
class ReleaseState:
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
        return max(0, self.services - len(self.rollout.kept) - self.rollout.completed - self.rollout.failed)

    @property
    def message(self) -> str:
        """What happened, in one line."""
        said = self.rollout.message
        if self.trigger == "rollback" and self.source:
            return f"rollback to {self.source} {self.status}" + (f": {said}" if said else "")
        words = {"partially_failed": "partially failed", "in_progress": "in progress"}
        return said or f"apply {words.get(self.status, self.status)}"


def start_rollout(policy: RolloutPolicy, targets: Sequence[tuple[str, int]], kept: Collection[str] = ()) -> Rollout:
    """Make the rollout of these services, each with the number of its parts, before its first step."""
    return Rollout(policy, tuple(Target(name, parts) for name, parts in targets), kept=tuple(kept))


def name_rollout_state(rollout: Rollout, remaining: int) -> str:
    """Name where a rollout stands in yoq's word for it, which follows from the status and the counters."""
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


def encode_rollout(rollout: Rollout) -> dict[str, Any]:
    """Turn a rollout into values that JSON knows."""
    return asdict(rollout)


def decode_rollout(document: Mapping[str, Any]) -> Rollout:
    """Turn such values into the rollout."""
    targets = tuple(Target(**{**target, "assignments": tuple(target["assignments"])}) for target in document["targets"])
    kept = tuple(document.get("kept", ()))
    return Rollout(**{**document, "policy": RolloutPolicy(**document["policy"]), "targets": targets, "kept": kept})
