"""What a step of a rollout does to the assignments. Pure: rollout, rows and agents go in, new rows come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from yoq_web.apps.manifest.document import Workload
from yoq_web.apps.rollout.machine import Activate, Discard, Finish, Place, Revert, Rollout, Seen, advance, placed
from yoq_web.apps.rollout.scheduler import Node, Seat, Usage, needs, place, taken

ALIVE = ("pending", "running")
"""The states in which an assignment takes room on its agent."""

DROPPED = "dropped"
"""Why an assignment was stopped whose service is not in the newest release any more."""


@dataclass(frozen=True, slots=True)
class Row:
    """An assignment. Without `agent_id` it waits for a place; `replaced_by` is the rollout that may bring it back."""

    id: str
    release: int | None
    agent_id: str | None
    workload: Workload
    status: str = "pending"
    reason: str | None = None
    gang: str | None = None
    rank: int | None = None
    master: str | None = None
    replaced_by: int | None = None
    app: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it is to run, or does."""
        return self.status in ALIVE


def make_rows(
    workload: Workload, seats: Iterable[Seat], release: int | None, new_id: Callable[[], str]
) -> dict[str, Row]:
    """Make the assignments of a workload that found these places; the parts of a gang bear the id of their first."""
    rows = [Row(new_id(), release, seat.node, workload, rank=seat.rank, master=seat.master) for seat in seats]
    gang = rows[0].id if rows and workload.ranks else None
    return {row.id: replace(row, gang=gang) for row in rows}


@dataclass
class Scene:
    """The rollout of release `number` and all that it touches.

    `rows` are the app's services' assignments. `nodes` are all agents with what else is assigned to them. `named` are
    all services that the manifest speaks of, and `services` those of them that can be placed.
    """

    number: int
    rollout: Rollout
    services: Mapping[str, Workload]
    named: frozenset[str]
    rows: dict[str, Row]
    nodes: Sequence[Node]
    new_id: Callable[[], str]

    def run(self, now: int) -> None:
        """Take every step that can be taken now. Afterwards `rollout` and `rows` say how things stand."""
        while True:
            seen = {row.id: Seen(row.status if row.agent_id else "pending", row.reason) for row in self.rows.values()}
            self.rollout, decisions = advance(self.rollout, seen, now)
            if not decisions:
                return
            while decisions:
                made: dict[int, tuple[str, ...]] | None = None
                for decision in decisions:
                    match decision:
                        case Place(targets):
                            made = self._place(targets)
                        case Activate(targets, keep):
                            self._activate(self._names(targets), keep=keep)
                        case Discard(targets):
                            self._discard(self._names(targets))
                        case Revert():
                            self._discard(None)
                        case Finish(stop_dropped):
                            self._finish(stop_dropped=stop_dropped)
                decisions = ()
                if made is not None:
                    self.rollout, decisions = placed(self.rollout, made, now)

    def _names(self, targets: Iterable[int]) -> set[str]:
        return {self.rollout.targets[target].name for target in targets}

    def _place(self, targets: Iterable[int]) -> dict[int, tuple[str, ...]]:
        policy = self.rollout.policy
        made: dict[int, tuple[str, ...]] = {}
        going: set[str] = set()
        for target in targets:
            name = self.rollout.targets[target].name
            workload = self.services[name]
            in_place = {*going, name}
            if policy.timeout == 0:
                # What it replaces goes in this very transaction.
                seats = place(workload, self._nodes(), self._freed(in_place))
            else:
                seats = place(workload, self._nodes())
                if not seats and policy.strategy != "blue_green":
                    # No room for both at once: the old one makes way, and comes back if this fails.
                    seats = place(workload, self._nodes(), self._freed({name}))
                    if seats:
                        self._activate({name}, keep=True)
            if seats:
                going.add(name)
                rows = make_rows(workload, seats, self.number, self.new_id)
                self.rows |= rows
                made[target] = tuple(rows)
        return made

    def _nodes(self) -> list[Node]:
        """The agents with what this app has on them by now, too; what is replaced counts no longer."""
        return with_rows(self.nodes, (row for row in self.rows.values() if row.replaced_by is None))

    def _freed(self, names: set[str]) -> dict[str, Usage]:
        freed: dict[str, Usage] = {}
        for row in self._old(names):
            if row.alive and row.agent_id and row.replaced_by is None:
                freed[row.agent_id] = freed.get(row.agent_id, Usage()).plus(needs(row.workload))
        return freed

    def _old(self, names: set[str]) -> list[Row]:
        return [row for row in self.rows.values() if row.workload.name in names and row.release != self.number]

    def _activate(self, names: set[str], *, keep: bool) -> None:
        for row in self._old(names):
            if keep and row.alive:
                self.rows[row.id] = replace(row, replaced_by=self.number)
            else:
                del self.rows[row.id]

    def _discard(self, names: set[str] | None) -> None:
        for row in list(self.rows.values()):
            if names is not None and row.workload.name not in names:
                continue
            if row.release == self.number:
                del self.rows[row.id]
            elif row.replaced_by == self.number:
                self.rows[row.id] = replace(row, replaced_by=None)

    def _finish(self, *, stop_dropped: bool) -> None:
        for row in list(self.rows.values()):
            dropped = stop_dropped and row.workload.name not in self.named
            if row.replaced_by == self.number or (dropped and not row.alive):
                del self.rows[row.id]
            elif dropped:
                self.rows[row.id] = replace(row, status="stopped", reason=DROPPED)


def with_rows(nodes: Sequence[Node], rows: Iterable[Row]) -> list[Node]:
    """The agents with these assignments added to what they have."""
    found = {node.id: node for node in nodes}
    for row in rows:
        if row.alive and row.agent_id in found:
            found[row.agent_id] = taken(found[row.agent_id], row.workload)
    return list(found.values())
