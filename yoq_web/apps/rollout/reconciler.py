"""What a step of a rollout does to the assignments. Pure: rollout, assignments and agents go in, new ones come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from yoq_web.apps.manifest.document import Workload
from yoq_web.apps.rollout.assignment import DROPPED, Assignment, add_assignments, make_assignments
from yoq_web.apps.rollout.diagnosis import explain_no_place, explain_not_ready
from yoq_web.apps.rollout.machine import Activate, Discard, Finish, Observation, Place, Revert, advance, note_placements
from yoq_web.apps.rollout.scheduler import Node, Usage, compute_usage, place
from yoq_web.apps.rollout.state import Rollout, Target
from yoq_web.operations.details import DETAIL_BYTES, clean_text


@dataclass
class Reconciler:
    """The rollout of release `number` and all that it touches.

    `assignments` are those of the app's services. `nodes` are all agents with what else is assigned to them. `named`
    are all services that the manifest speaks of, and `services` those of them that can be placed.
    """

    number: int
    rollout: Rollout
    services: Mapping[str, Workload]
    named: frozenset[str]
    assignments: dict[str, Assignment]
    nodes: Sequence[Node]
    make_id: Callable[[], str]
    _misfits: dict[str, str] = field(default_factory=dict, init=False)

    def run(self, now: int) -> None:
        """Take every step that can be taken now. Afterwards `rollout` and `assignments` say how things stand."""
        while True:
            seen = {
                key: Observation(one.status if one.agent_id else "pending", one.reason)
                for key, one in self.assignments.items()
            }
            self.rollout, decisions = advance(self.rollout, seen, now)
            # Before it is carried out: then the assignments may be gone.
            self._explain()
            if not decisions:
                return
            while decisions:
                made: dict[int, tuple[str, ...]] | None = None
                for decision in decisions:
                    match decision:
                        case Place(targets):
                            made = self._place(targets)
                        case Activate(targets, keep):
                            self._activate(self._list_names(targets), keep=keep)
                        case Discard(targets):
                            self._discard(self._list_names(targets))
                        case Revert():
                            self._discard(None)
                        case Finish(stop_dropped):
                            self._finish(stop_dropped=stop_dropped)
                decisions = ()
                if made is not None:
                    self.rollout, decisions = note_placements(self.rollout, made, now)
                    self._explain()

    def _explain(self) -> None:
        """Say of the targets that failed just now why they did."""
        # It is stored with the rollout: short, and of characters that both databases take.
        targets = tuple(
            replace(target, explanation=clean_text(self._explain_target(target), DETAIL_BYTES, "", []))
            if target.state == "failed" and target.explanation is None
            else target
            for target in self.rollout.targets
        )
        if targets != self.rollout.targets:
            self.rollout = replace(self.rollout, targets=targets)

    def _explain_target(self, target: Target) -> str:
        if target.name in self._misfits:
            return self._misfits[target.name]
        parts = [self.assignments[key] for key in target.assignments if key in self.assignments]
        return explain_not_ready(target.reason, parts, self.nodes)

    def _list_names(self, targets: Iterable[int]) -> set[str]:
        return {self.rollout.targets[target].name for target in targets}

    def _place(self, targets: Iterable[int]) -> dict[int, tuple[str, ...]]:
        policy = self.rollout.policy
        made: dict[int, tuple[str, ...]] = {}
        going: set[str] = set()
        for target in targets:
            name = self.rollout.targets[target].name
            workload = self.services[name]
            # Without a wait what it replaces goes in this very transaction.
            freed = self._sum_freed({*going, name}) if policy.timeout == 0 else {}
            seats = place(workload, self._list_nodes(), freed)
            if not seats and policy.timeout and policy.strategy != "blue_green":
                # No room for both at once: the old one makes way, and comes back if this fails.
                freed = self._sum_freed({name})
                seats = place(workload, self._list_nodes(), freed)
                if seats:
                    self._activate({name}, keep=True)
            if not seats:
                self._misfits[name] = explain_no_place(workload, self._list_nodes(), freed)
                continue
            going.add(name)
            parts = make_assignments(workload, seats, self.number, self.make_id)
            self.assignments |= parts
            made[target] = tuple(parts)
        return made

    def _list_nodes(self) -> list[Node]:
        """List the agents with what this app has on them by now, too; what is replaced counts no longer."""
        return add_assignments(self.nodes, (one for one in self.assignments.values() if one.replaced_by is None))

    def _sum_freed(self, names: set[str]) -> dict[str, Usage]:
        freed: dict[str, Usage] = {}
        for one in self._list_old(names):
            if one.alive and one.agent_id and one.replaced_by is None:
                freed[one.agent_id] = freed.get(one.agent_id, Usage()) + compute_usage(one.workload)
        return freed

    def _list_old(self, names: set[str]) -> list[Assignment]:
        return [one for one in self.assignments.values() if one.workload.name in names and one.release != self.number]

    def _activate(self, names: set[str], *, keep: bool) -> None:
        for one in self._list_old(names):
            if keep and one.alive:
                self.assignments[one.id] = replace(one, replaced_by=self.number)
            else:
                del self.assignments[one.id]

    def _discard(self, names: set[str] | None) -> None:
        for one in list(self.assignments.values()):
            if names is not None and one.workload.name not in names:
                continue
            if one.release == self.number:
                del self.assignments[one.id]
            elif one.replaced_by == self.number:
                self.assignments[one.id] = replace(one, replaced_by=None)

    def _finish(self, *, stop_dropped: bool) -> None:
        for one in list(self.assignments.values()):
            dropped = stop_dropped and one.workload.name not in self.named
            if one.replaced_by == self.number or (dropped and not one.alive):
                del self.assignments[one.id]
            elif dropped:
                self.assignments[one.id] = replace(one, status="stopped", reason=DROPPED)
