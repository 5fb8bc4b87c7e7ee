"""The judge: of a history that holds he finds nothing, and each way to break the rule has its name."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from faults.judge import Breach, judge
from faults.load import Attempt

MADE = Attempt("secrets", "secret_set", "a", "r1", makes=True, value="v", status=200, audit_id="e1")
ENTRY = {"event_id": "e1", "action": "secret_set", "target": "a", "outcome": "ok", "request_id": "r1"}
NOTHING: dict[str, set[str]] = {"secrets": set(), "policies": set(), "tokens": set()}
THERE = NOTHING | {"secrets": {"a"}}


def made(**members: Any) -> Attempt:
    """The attempt that made the secret, with other members."""
    return Attempt(**{**vars(MADE), **members})


def entry(**members: Any) -> dict[str, Any]:
    """Its entry, with other members."""
    return {**ENTRY, **members}


def test_what_holds() -> None:
    """Acknowledged with its entry, refused without effect, unanswered either way: no finding."""
    assert judge([MADE], [ENTRY], THERE) == []
    refused = made(status=503, audit_id="e1")
    assert judge([refused], [entry(outcome="failed")], NOTHING) == []
    assert judge([made(status=503, audit_id=None)], [], NOTHING) == []
    unanswered = made(status=None, audit_id=None)
    assert judge([unanswered], [], NOTHING) == []
    assert judge([unanswered], [ENTRY], THERE) == []
    for present in (NOTHING, THERE):
        assert judge([unanswered], [entry(outcome="interrupted")], present) == []
    assert judge([made(request_id=None, audit_id=None)], [entry(request_id=None)], THERE) == []


def test_what_is_not_vouched_for() -> None:
    """A change acknowledged without an Audit-Id may be `interrupted` in the trail, but it has an entry."""
    unvouched = made(audit_id=None)
    assert judge([unvouched], [entry(outcome="interrupted")], THERE) == []
    assert {finding.breach for finding in judge([unvouched], [], THERE)} == {"lost"}


CASES: list[tuple[Breach, list[Attempt], list[dict[str, Any]], dict[str, set[str]]]] = [
    ("lost", [MADE], [], THERE),
    ("lost", [MADE], [ENTRY], NOTHING),
    ("lost", [made(status=503)], [], NOTHING),
    ("doubled", [MADE], [ENTRY, ENTRY], THERE),
    ("doubled", [MADE], [ENTRY, entry(event_id="e2")], THERE),
    ("wrong outcome", [MADE], [entry(outcome="failed")], THERE),
    ("wrong outcome", [MADE], [entry(outcome="started")], THERE),
    ("wrong outcome", [made(kind="denied", makes=None, status=403)], [ENTRY], NOTHING),
    ("unrecorded", [made(status=None, audit_id=None)], [], THERE),
    ("unrecorded", [made(status=503)], [entry(outcome="failed")], THERE),
    ("unrecorded", [], [], THERE),
    ("without deed", [], [ENTRY], NOTHING),
    ("without deed", [made(status=None, audit_id=None)], [ENTRY], NOTHING),
    ("without deed", [MADE], [entry(target="b")], THERE),
    ("wrong answer", [made(status=404, audit_id=None)], [], NOTHING),
]


@pytest.mark.parametrize(("breach", "history", "entries", "present"), CASES)
def test_each_breach_is_found(
    breach: Breach, history: list[Attempt], entries: list[dict[str, Any]], present: dict[str, set[str]]
) -> None:
    """It is found, and nothing else is."""
    assert {finding.breach for finding in judge(history, entries, present)} == {breach}


def test_every_breach_that_he_judges_has_a_case() -> None:
    """The others come of commands that the examination runs."""
    assert {case[0] for case in CASES} == set(get_args(Breach)) - {"not verified", "not opened", "not recovered"}


def test_a_restore_takes_back_what_was_made_since_and_nothing_else() -> None:
    """What is there is what it was, whole; tokens that were revoked since stay revoked."""
    later = made(target="b", request_id="r2", audit_id="e2")
    entries = [ENTRY, entry(event_id="e2", target="b", request_id="r2")]
    both = NOTHING | {"secrets": {"a", "b"}}
    assert judge([MADE, later], entries, THERE, [((1, 2),)]) == []
    assert judge([MADE, later], entries, both, [(), ((1, 2),)]) == []
    assert judge([MADE, later], entries, both, [((1, 2),)]) != []
    assert judge([MADE, later], entries, NOTHING | {"secrets": {"b"}}, [(), ((1, 2),)]) != []
    token = Attempt("tokens", "token_create", "t", "r3", makes=True, status=201, audit_id="e3")
    revoked = Attempt("tokens", "token_revoke", "t", "r4", makes=False, status=200, audit_id="e4")
    said = [
        entry(event_id="e3", action="token_create", target="t", request_id="r3"),
        entry(event_id="e4", action="token_revoke", target="t", request_id="r4"),
    ]
    assert judge([token, revoked], said, NOTHING, [((1, 2),)]) == []
    assert judge([token, revoked], said, NOTHING | {"tokens": {"t"}}, [((1, 2),)]) != []
