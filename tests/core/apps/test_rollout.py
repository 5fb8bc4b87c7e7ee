"""The rollout machine: batches, readiness, delays, commands, and that it always ends or says what it waits for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.worlds import World, node, over_capacity, service
from yoq_web.apps.manifest.document import RolloutPolicy
from yoq_web.apps.rollout.machine import CANCELED
from yoq_web.apps.rollout.state import Rollout, decode_rollout, encode_rollout

THREE = (service("a"), service("b"), service("c"))


def states(rollout: Rollout) -> list[str]:
    """The states of the targets, in order."""
    return [target.state for target in rollout.targets]


def images(world: World, name: str) -> set[int | None]:
    """The releases whose assignments of a service the agents see."""
    return {row.release for row in world.of(name)}


def test_nothing_to_wait_for_is_done_at_once() -> None:
    """Without health gate and delay every strategy ends in one go, and the last release's assignments are gone."""
    for strategy in ("rolling", "canary", "blue_green"):
        world = World([node("n1"), node("n2")])
        for _ in range(3):
            rollout = world.apply(RolloutPolicy(strategy), *THREE)
            assert (rollout.status, rollout.completed, rollout.placed) == ("completed", 3, 3)
            assert {row.release for row in world.assignments.values()} == {world.number}


def test_a_full_cluster_can_be_applied_to_again() -> None:
    """A service takes the room of the one that it replaces, with and without health gate, never more than there is."""
    for policy in (
        RolloutPolicy(),
        RolloutPolicy(parallelism=3),
        RolloutPolicy("blue_green"),
        RolloutPolicy(timeout=30),
        RolloutPolicy("canary", timeout=9),
    ):
        world = World([node("n1", cores=3)])
        assert world.apply(RolloutPolicy(), *THREE).status == "completed"
        rollout = world.apply(policy, *THREE)
        while not rollout.over:
            assert over_capacity(world.nodes, world.assignments) == []
            fresh = [row for row in world.assignments.values() if row.release == 2 and row.status == "pending"]
            rollout = world.report(fresh[0], "running")
        assert rollout.status == "completed"
        assert over_capacity(world.nodes, world.assignments) == []


def test_blue_green_needs_room_for_both() -> None:
    """With a health gate it keeps the old ones until the new ones are ready, so on a full cluster nothing is placed."""
    world = World([node("n1", cores=3)])
    world.apply(RolloutPolicy(), *THREE)
    rollout = world.apply(RolloutPolicy("blue_green", timeout=30), *THREE)
    assert (rollout.status, rollout.unplaced, rollout.message) == ("failed", 3, "one or more placements failed")
    assert {row.release for row in world.assignments.values()} == {1}


def test_canary_goes_first_and_alone() -> None:
    """The first batch is one target, the next as many as the parallelism says, each begun when the last is ready."""
    world = World([node("n1"), node("n2")])
    rollout = world.apply(RolloutPolicy("canary", parallelism=2, timeout=30), *THREE)
    assert states(rollout) == ["starting", "pending", "pending"]
    rollout = world.report(world.of("a")[0], "running")
    assert states(rollout) == ["ready", "starting", "starting"]
    rollout = world.report(world.of("c")[0], "running")
    assert states(rollout) == ["ready", "starting", "starting"]
    rollout = world.report(world.of("b")[0], "running")
    assert (rollout.status, states(rollout)) == ("completed", ["ready"] * 3)


def test_the_old_one_stays_until_the_new_one_is_ready() -> None:
    """While a target starts beside it, the agents keep the assignment that it replaces."""
    world = World([node("n1"), node("n2")])
    world.apply(RolloutPolicy(), service("a"))
    world.apply(RolloutPolicy(timeout=30), service("a"))
    assert images(world, "a") == {1, 2}
    world.report(next(row for row in world.of("a") if row.release == 2), "running")
    assert images(world, "a") == {2}


def test_a_failure_rolls_everything_back() -> None:
    """With the action rollback a failed target brings back what earlier batches replaced, as it was."""
    world = World([node("n1"), node("n2")])
    world.apply(RolloutPolicy(), *THREE)
    before = dict(world.assignments)
    world.apply(RolloutPolicy(timeout=30), *THREE)
    world.report(next(row for row in world.of("a") if row.release == 2), "running")
    rollout = world.report(next(row for row in world.of("b") if row.release == 2), "failed", "image_pull_failed")
    assert world.assignments == before
    assert states(rollout) == ["rolled_back", "failed", "pending"]
    assert [target.reason for target in rollout.targets] == ["rollback_reverted", "image_pull_failed", None]
    assert (rollout.status, rollout.completed, rollout.placed, rollout.failed) == ("failed", 0, 0, 1)
    assert rollout.message == "one or more rollout targets failed readiness checks"


def test_a_failure_stops_it_where_it_is() -> None:
    """With the action pause only the failed target is dropped; what is ready stays, what was not begun is not."""
    world = World([node("n1"), node("n2")])
    world.apply(RolloutPolicy(), *THREE)
    world.apply(RolloutPolicy(parallelism=2, timeout=30, failure_action="pause"), *THREE)
    world.report(next(row for row in world.of("a") if row.release == 2), "running")
    rollout = world.report(next(row for row in world.of("b") if row.release == 2), "failed", "nonsense")
    assert states(rollout) == ["ready", "failed", "pending"]
    assert rollout.targets[1].reason == "assignment_failed"
    assert (rollout.status, rollout.remaining) == ("partially_failed", 1)
    assert [images(world, name) for name in "abc"] == [{2}, {1}, {1}]


def test_what_is_silent_is_not_ready() -> None:
    """A target that nobody speaks of fails at the deadline, one whose assignment vanished at once."""
    world = World([node("n1"), node("n2")])
    rollout = world.apply(RolloutPolicy(timeout=30), service("a"))
    assert (rollout.waiting, rollout.due_at) == ("readiness", 1030)
    assert not world.pass_time(29).over
    assert world.pass_time(1).targets[0].reason == "readiness_timeout"
    world.apply(RolloutPolicy(timeout=30), service("a"))
    world.assignments.clear()
    assert world.step().targets[0].reason == "assignment_missing"


def test_a_delay_lies_between_batches() -> None:
    """The next batch begins when the delay is over; after the last batch there is none."""
    world = World([node("n1"), node("n2")])
    rollout = world.apply(RolloutPolicy(delay=10), service("a"), service("b"))
    assert (states(rollout), rollout.waiting, rollout.due_at) == (["ready", "pending"], "delay", 1010)
    assert not world.pass_time(9).over
    assert world.pass_time(1).status == "completed"


def test_pause_holds_the_next_batch() -> None:
    """A paused rollout finishes the batch that was begun, waits for the operator, and goes on when told."""
    world = World([node("n1"), node("n2")])
    world.apply(RolloutPolicy(timeout=30), service("a"), service("b"))
    assert world.command("paused").waiting == "readiness"
    rollout = world.report(world.of("a")[0], "running")
    assert (states(rollout), rollout.waiting, rollout.due_at) == (["ready", "pending"], "operator", None)
    assert world.pass_time(10_000).waiting == "operator"
    assert states(world.command("active")) == ["ready", "starting"]


def test_cancel_undoes_or_leaves() -> None:
    """A cancelled rollout ends at once: with the action rollback undone, else with what was cut over."""
    for action, kept, status in (("rollback", {1}, "failed"), ("pause", {2}, "partially_failed")):
        world = World([node("n1"), node("n2")])
        world.apply(RolloutPolicy(), service("a"), service("b"))
        world.apply(RolloutPolicy(timeout=30, failure_action=action), service("a"), service("b"))  # type: ignore[arg-type]
        world.report(next(row for row in world.of("a") if row.release == 2), "running")
        rollout = world.command("cancel_requested")
        assert (rollout.status, rollout.message) == (status, CANCELED)
        assert (images(world, "a"), images(world, "b")) == (kept, {1})


def test_a_placement_that_fails_ends_it() -> None:
    """If nothing of a batch finds a place earlier batches stay; if part of it does, rollback undoes everything."""
    huge = service("b", cpu=100_000)
    world = World([node("n1")])
    rollout = world.apply(RolloutPolicy(), service("a"), huge, service("c"))
    assert (rollout.status, states(rollout)) == ("partially_failed", ["ready", "failed", "pending"])
    assert (rollout.placed, rollout.unplaced, rollout.targets[1].reason) == (1, 1, "placement_failed")
    world = World([node("n1")])
    rollout = world.apply(RolloutPolicy(parallelism=2), service("a"), huge, service("c"))
    assert (rollout.status, rollout.placed, rollout.completed) == ("failed", 0, 0)
    assert world.assignments == {}
    rollout = world.apply(RolloutPolicy(parallelism=2, failure_action="pause"), service("a"), huge, service("c"))
    assert (rollout.status, rollout.placed, rollout.failed) == ("partially_failed", 1, 1)


def test_dropped_services_are_stopped() -> None:
    """A service that the newest release does not name is stopped once that is completed, and forgotten by the next."""
    world = World([node("n1"), node("n2")])
    world.apply(RolloutPolicy(), *THREE)
    world.apply(RolloutPolicy(timeout=30), service("a"))
    assert world.of("b")[0].status == "pending"
    world.report(next(row for row in world.of("a") if row.release == 2), "running")
    assert [(row.status, row.reason) for row in world.of("b") + world.of("c")] == [("stopped", "dropped")] * 2
    world.apply(RolloutPolicy(), service("a"))
    assert list(world.assignments) == [row.id for row in world.of("a")]


POLICIES = st.builds(
    RolloutPolicy,
    strategy=st.sampled_from(["rolling", "canary", "blue_green"]),
    parallelism=st.integers(1, 3),
    delay=st.sampled_from([0, 5]),
    failure_action=st.sampled_from(["rollback", "pause"]),
    timeout=st.sampled_from([0, 20]),
)
SIZES = st.dictionaries(st.sampled_from("abcde"), st.sampled_from([500, 1000, 4000]), max_size=4)
WORDS = ["running", "failed", "stopped", "time", "paused", "active", "cancel_requested", "lost", "gone"]
EVENTS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 7)), max_size=14)


@settings(max_examples=100, deadline=None)
@given(first=SIZES, second=SIZES, policy=POLICIES, events=EVENTS)
def test_every_story_ends(
    first: dict[str, int], second: dict[str, int], policy: RolloutPolicy, events: list[tuple[str, int]]
) -> None:
    """Whatever happens: no target goes back, no agent is overfull, and the rollout ends or says what it waits for."""
    world = World([node("n1"), node("n2", cores=2)])
    world.apply(RolloutPolicy(), *(service(name, cpu=cpu) for name, cpu in first.items()))
    rollout = world.apply(policy, *(service(name, cpu=cpu) for name, cpu in second.items()))
    follow(world, rollout, events)
    # Whatever it waits for, it can have: an operator's word, time.
    rollout = world.command("active")
    for _ in range(20):
        if rollout.over:
            break
        assert rollout.waiting in ("readiness", "delay")
        rollout = world.pass_time(20)
    assert rollout.over
    assert rollout.control == "active" or rollout.message == CANCELED
    assert all(row.replaced_by is None for row in world.assignments.values())
    assert {row.release for row in world.assignments.values()} <= {1, 2}
    assert rollout.completed + rollout.failed + rollout.remaining == len(rollout.targets)
    assert world.step() == rollout
    assert decode_rollout(encode_rollout(rollout)) == rollout


ORDER = {"pending": 0, "starting": 1, "ready": 2, "failed": 3, "rolled_back": 3}


def follow(world: World, rollout: Rollout, events: list[tuple[str, int]]) -> None:
    """Let the events happen, and watch the targets."""
    for event, which in events:
        rows = list(world.assignments.values())
        before = rollout
        if event == "time":
            rollout = world.pass_time(which * 5)
        elif event in ("paused", "active", "cancel_requested"):
            rollout = world.command(event)
        elif rows:
            row = rows[which % len(rows)]
            if event == "gone":
                del world.assignments[row.id]
                rollout = world.step()
            elif row.alive:
                rollout = world.report(row, "pending" if event == "lost" else event)
        assert over_capacity(world.nodes, world.assignments) == []
        for old, new in zip(before.targets, rollout.targets, strict=True):
            assert ORDER[new.state] >= ORDER[old.state]
            assert not old.assignments or new.assignments == old.assignments
        assert rollout.over or rollout.waiting is not None
        assert (rollout.due_at is None) == (rollout.over or rollout.waiting == "operator")
