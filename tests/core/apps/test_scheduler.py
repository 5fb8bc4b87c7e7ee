"""Placement: who takes what, and that nobody is ever given more than there is or what it may not have."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.worlds import node, service
from yoq_web.apps.manifest.document import Workload
from yoq_web.apps.rollout.assignment import Assignment
from yoq_web.apps.rollout.moves import Otherwise, place_anew
from yoq_web.apps.rollout.scheduler import Node, Usage, add_workload, place


def test_the_freest_wins_and_the_earliest_of_equals() -> None:
    """The agent with most room takes the next service; of equal ones the first to have registered."""
    nodes = [node("n1", cores=2), node("n2"), node("n3")]
    chosen = []
    for _ in range(5):
        seats = place(service("a"), nodes)
        chosen.append(seats[0].node)
        nodes = [add_workload(item, service("a")) if item.id == seats[0].node else item for item in nodes]
    assert chosen == ["n2", "n3", "n2", "n3", "n1"]


def test_what_agents_report_counts_too() -> None:
    """An agent that says that it is busy is, whatever was assigned to it; the larger of the two counts."""
    busy = node("n1", reported=Usage(cpu=3500), assigned=Usage(cpu=1000))
    assert place(service("a"), [busy]) == ()
    assert place(service("a", cpu=500), [busy])
    assert place(service("a"), [node("n1", reported=Usage(cpu=1000), assigned=Usage(cpu=3500))]) == ()


def test_a_gang_runs_whole_or_not_at_all() -> None:
    """Each part gets its GPUs, the first one's address is everybody's, and without room for all there is none."""
    nodes = [node("n1", gpus=1), node("n2", gpus=2)]
    seats = place(service("a", ranks=3, cpu=100), nodes)
    assert [seat.rank for seat in seats] == [0, 1, 2]
    assert sorted(seat.node for seat in seats) == ["n1", "n2", "n2"]
    assert len({seat.master for seat in seats}) == 1
    assert place(service("a", ranks=4, cpu=100), nodes) == ()


NODES = st.lists(
    st.builds(
        Node,
        id=st.just(""),
        address=st.just("10.0.0.1"),
        cpu=st.integers(0, 8000),
        memory_mb=st.integers(0, 8192),
        status=st.sampled_from(["active", "active", "draining", "offline"]),
        role=st.sampled_from(["both", "agent", "server"]),
        labels=st.frozensets(st.sampled_from("xyz")),
        gpus=st.integers(0, 3),
        reported=st.builds(Usage, cpu=st.integers(0, 4000)),
        assigned=st.builds(Usage, cpu=st.integers(0, 4000), memory_mb=st.integers(0, 4096)),
    ),
    max_size=5,
)
WORKLOADS = st.lists(
    st.builds(
        Workload,
        kind=st.just("service"),
        name=st.just("a"),
        image=st.just("i"),
        cpu=st.integers(0, 4000),
        memory_mb=st.integers(0, 4096),
        labels=st.lists(st.sampled_from("xyz"), max_size=2).map(tuple),
        gpus=st.integers(0, 2),
        ranks=st.sampled_from([0, 0, 0, 2, 3]),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(nodes=NODES, workloads=WORKLOADS)
def test_no_agent_is_given_what_it_cannot_take(nodes: list[Node], workloads: list[Workload]) -> None:
    """Never over capacity, never on one that drains, is offline or a mere server, always with the labels asked for."""
    nodes = [replace(item, id=f"n{number}") for number, item in enumerate(nodes)]
    for workload in workloads:
        seats = place(workload, nodes)
        assert seats == place(workload, nodes)
        assert len(seats) in (0, workload.parts)
        before = {item.id: item for item in nodes}
        for seat in seats:
            chosen = next(item for item in nodes if item.id == seat.node)
            assert (chosen.status, chosen.role != "server") == ("active", True)
            assert chosen.labels >= set(workload.labels)
            nodes = [add_workload(item, workload) if item.id == seat.node else item for item in nodes]
        for item in nodes:
            if item != before[item.id]:
                assert min(item.compute_free().cpu, item.compute_free().memory_mb) >= 0
                assert not workload.gpus or item.compute_free().gpus >= 0
        if not seats and not workload.ranks:
            assert not any(could(item, workload) for item in nodes)


def could(item: Node, workload: Workload) -> bool:
    """Whether an agent has room for a workload, in other words than the scheduler's."""
    used = max(item.reported.cpu, item.assigned.cpu)
    return (
        item.status == "active"
        and item.role != "server"
        and item.cpu - used >= workload.cpu
        and item.memory_mb - item.assigned.memory_mb >= workload.memory_mb
        and item.gpus - item.assigned.gpus >= workload.gpus
        and set(workload.labels) <= item.labels
    )


@settings(max_examples=50, deadline=None)
@given(nodes=NODES, workloads=WORKLOADS, otherwise=st.sampled_from(("stay", "wait", "end")))
def test_moving_obeys_the_same_rules(nodes: list[Node], workloads: list[Workload], otherwise: Otherwise) -> None:
    """What is moved goes where it may be and starts anew; the rest stays, waits without a place, or ends."""
    nodes = [replace(item, id=f"n{number}") for number, item in enumerate(nodes)]
    rows = [
        Assignment(f"r{number}", 1, "gone", replace(workload, ranks=0), status="running")
        for number, workload in enumerate(workloads)
    ]
    after = place_anew(rows, nodes, otherwise)
    for row in rows:
        found = after[row.id]
        if found.agent_id in (None, "gone"):
            assert (
                found
                == {
                    "stay": row,
                    "wait": replace(row, agent_id=None, status="pending"),
                    "end": replace(row, status="stopped", reason="drained"),
                }[otherwise]
            )
        else:
            chosen = next(item for item in nodes if item.id == found.agent_id)
            assert chosen.status == "active"
            assert chosen.labels >= set(row.workload.labels)
            assert found.status == "pending"
    for item in nodes:
        given_cpu = sum(row.workload.cpu for row in after.values() if row.agent_id == item.id)
        assert not given_cpu or max(item.assigned.cpu + given_cpu, item.reported.cpu) <= item.cpu
