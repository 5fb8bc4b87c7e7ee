"""Removals: what an announcing entry says is gone from the log, as a text that the log's key signs.

Who can write to the database can add an entry that no operation left, but cannot sign: rows that vanish with such an
entry as their only excuse are missing. No checkpoint has such a text, so that the one signature never passes for the
other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from yoq_audit.tlog import note as notes
from yoq_audit.tlog.errors import LogError, NoteError
from yoq_audit.tlog.note import Signer, Verifier
from yoq_audit.tlog.tiles import TILE

EVENT_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Pruning:
    """All entries under the index `minimum` are pruned; none of them began at `cutoff` (microseconds) or later."""

    minimum: int
    cutoff: int

    @property
    def text(self) -> str:
        """What is signed."""
        return f"yoq-web: pruned from this log\nminimum {self.minimum}\ncutoff {self.cutoff}\n"


@dataclass(frozen=True)
class Erasure:
    """The entries of one event, which stand at these indexes, are erased."""

    event_id: str
    places: tuple[int, ...]

    @property
    def text(self) -> str:
        """What is signed."""
        places = "".join(f"place {index}\n" for index in self.places)
        return f"yoq-web: erased from this log\nevent {self.event_id}\n{places}"


Removal = Pruning | Erasure


def sign_removal(removal: Removal, key: Signer) -> str:
    """Sign a removal; returns the signature as a line of a signed note."""
    if isinstance(removal, Erasure) and not EVENT_ID.fullmatch(removal.event_id):
        raise NoteError("the event's id is none that this log gave")
    return notes.sign(removal.text, key)[len(removal.text) + 1 :].strip()


def is_signed(removal: Removal, signature: object, keys: Iterable[Verifier]) -> bool:
    """Tell whether one of these keys made the signature of the removal."""
    if not isinstance(signature, str) or "\n" in signature:
        return False
    with suppress(LogError):
        notes.verify(f"{removal.text}\n{signature}\n", keys)
        return True
    return False


def parse_removal(action: object, target: object, details: object) -> tuple[Removal, object] | None:
    """Read what an announcing entry's columns say, and the signature that is with it; None for what cannot be one."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        found = json.loads(details) if isinstance(details, str) else None
        if not isinstance(found, dict):
            return None
        removal = _parse_pruning(found) if action == "audit_prune" else _parse_erasure(target, found)
        return removal, found.get("signature")
    return None


def _parse_pruning(details: Mapping[str, Any]) -> Pruning:
    minimum, cutoff = _check_index(details["minimum_after"]), _check_index(details["cutoff"])
    if minimum % TILE:
        raise ValueError("no whole bundles")
    return Pruning(minimum, cutoff)


def _parse_erasure(target: object, details: Mapping[str, Any]) -> Erasure:
    if not isinstance(target, str) or not EVENT_ID.fullmatch(target):
        raise ValueError("no event's id")
    started = (_check_index(details["started_index"]),) if "started_index" in details else ()
    return Erasure(target, (*started, _check_index(details["index"])))


def _check_index(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no index")
    return value
