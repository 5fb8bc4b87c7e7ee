"""The judge: one rule for every round.

Every acknowledged operation has exactly one entry with the right outcome, every change has its entry, no entry is
without its deed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from faults.load import Attempt

Breach = Literal[
    "lost",  # acknowledged, and there is no entry of it or the change is gone
    "doubled",  # two entries of one operation
    "wrong outcome",  # an entry that says something else than the answer
    "unrecorded",  # a change without an entry
    "without deed",  # an entry of something that nobody tried, or that says `ok` and nothing was changed
    "wrong answer",  # an answer that cannot be
    "not verified",  # `audit verify` is not content
    "not opened",  # a secret cannot be read, or is another
    "not recovered",  # nothing is wrong any more, and it does not serve or says that it is not well
]

Entry = Mapping[str, Any]
Present = Mapping[str, set[str]]
Undone = tuple[tuple[int, int], ...]
"""Ranges of attempts, by their numbers in the history, whose changes a restore took back."""

JUDGED = (
    "secret_set",
    "secret_delete",
    "secret_list",
    "policy_add",
    "policy_delete",
    "token_create",
    "token_revoke",
    "backup",
)
"""The actions whose entries are all of attempts that were written down."""


@dataclass(frozen=True)
class Finding:
    """One breach of the rule."""

    breach: Breach
    text: str


def judge(
    history: Sequence[Attempt], entries: Iterable[Entry], present: Present, undone: Sequence[Undone] = ((),)
) -> list[Finding]:
    """Find every breach. `present` are the targets that are there, by kind.

    `undone` are the ways in which restores may have ended, of which one must fit.
    """
    stored = list(entries)
    found = list(_find_doubled(stored))
    matched = _match(history, stored)
    for attempt, own in zip(history, matched, strict=True):
        found += _judge_attempt(attempt, own)
    claimed = {id(entry) for own in matched for entry in own}
    found += [
        Finding("without deed", f"nobody tried this: {_show(entry)}")
        for entry in stored
        if entry["action"] in JUDGED and id(entry) not in claimed
    ]
    return found + min((_judge_state(history, matched, present, ranges) for ranges in undone), key=len)


def _find_doubled(entries: list[Entry]) -> Iterable[Finding]:
    counts = Counter(entry["event_id"] for entry in entries)
    for entry in entries:
        if counts.pop(entry["event_id"], 1) > 1:
            yield Finding("doubled", f"an event id stands twice: {_show(entry)}")


def _match(history: Sequence[Attempt], entries: list[Entry]) -> list[list[Entry]]:
    """Return the entries of each attempt: by its request's id, or a command's by what it did to what."""
    requests: dict[object, list[Entry]] = defaultdict(list)
    commands: dict[object, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry["request_id"]:
            requests[entry["request_id"]].append(entry)
        else:
            commands[entry["action"], entry["target"]].append(entry)
    return [
        requests[attempt.request_id] if attempt.request_id else commands[attempt.action, attempt.target]
        for attempt in history
    ]


def _judge_attempt(attempt: Attempt, own: list[Entry]) -> Iterable[Finding]:
    told = f"{attempt.action} {attempt.target or ''} ({attempt.request_id}): {attempt.status} {attempt.answer}"
    if len({entry["event_id"] for entry in own}) > 1:
        yield Finding("doubled", f"{told} has {', '.join(map(_show, own))}")
    if attempt.audit_id and attempt.audit_id not in {entry["event_id"] for entry in own}:
        yield Finding("lost", f"{told} was given the Audit-Id {attempt.audit_id}, and no entry has it")
    elif attempt.acknowledged and not own:
        yield Finding("lost", f"{told} has no entry")
    expected = _expect(attempt)
    for entry in own:
        if entry["outcome"] not in expected:
            yield Finding("wrong outcome", f"{told} has {_show(entry)}")
        if entry["action"] != attempt.action or (attempt.target is not None and entry["target"] != attempt.target):
            yield Finding("without deed", f"{told} has the entry of something else: {_show(entry)}")
    if attempt.status is not None and not (
        attempt.acknowledged
        or attempt.status >= 500
        or attempt.status == 429
        or (attempt.kind == "denied" and attempt.status == 403)
        or (attempt.kind == "backups" and attempt.status == 409)
    ):
        yield Finding("wrong answer", told)


def _expect(attempt: Attempt) -> set[str]:
    """Return the outcomes that its entry may have. Whether an unacknowledged `ok` is true is told by what is there."""
    if attempt.kind == "denied":
        return {"denied"}
    if not attempt.acknowledged:
        return {"ok", "failed", "interrupted"}
    # What is acknowledged without an Audit-Id was not vouched for: how it ended may have died with the process.
    return {"ok"} if attempt.audit_id or not attempt.request_id else {"ok", "interrupted"}


def _judge_state(
    history: Sequence[Attempt], matched: list[list[Entry]], present: Present, undone: Undone
) -> list[Finding]:
    """Compare what is there with what the answers and the entries say, target by target."""
    possible: dict[tuple[str, str], set[bool]] = {}
    last: dict[tuple[str, str], Attempt] = {}
    for number, (attempt, own) in enumerate(zip(history, matched, strict=True)):
        if attempt.makes is None or attempt.target is None:
            continue
        key = attempt.kind, attempt.target
        # What was made since is gone; of tokens, those that were revoked since stay revoked.
        gone = any(begin <= number < end for begin, end in undone)
        if gone and (attempt.kind != "tokens" or attempt.makes):
            possible.setdefault(key, {False})
            last.setdefault(key, attempt)
            continue
        outcomes = {entry["outcome"] for entry in own}
        before = possible.get(key, {False})
        if attempt.acknowledged or "ok" in outcomes:
            possible[key] = {attempt.makes}
        elif "interrupted" in outcomes:
            possible[key] = before | {attempt.makes}
        else:
            possible[key] = before
        last[key] = attempt
    found = []
    for (kind, target), states in possible.items():
        attempt = last[kind, target]
        there = target in present[kind]
        if there not in states:
            breach: Breach = "lost" if attempt.acknowledged else "unrecorded"
            if not attempt.acknowledged and attempt.makes in states:
                breach = "without deed"
            said = f"{attempt.action} {target} ({attempt.request_id}): {attempt.status} {attempt.answer}"
            found.append(Finding(breach, f"{kind} {target} is {'' if there else 'not '}there; the last was {said}"))
    found += [
        Finding("unrecorded", f"{kind} {target} is there, and nobody tried to make it")
        for kind, targets in present.items()
        for target in targets
        if (kind, target) not in possible
    ]
    return found


def _show(entry: Entry) -> str:
    return " ".join(str(entry[name]) for name in ("event_id", "action", "target", "outcome", "request_id"))
