"""The leaf of an entry: one canonical JSON text of its stored columns, which whoever holds the entry can rebuild."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from json.encoder import encode_basestring as quoted
from typing import Any

from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.tiles import MAX_ENTRY

FIELDS = (
    "version",
    "event_id",
    "time",
    "actor",
    "actor_kind",
    "action",
    "target",
    "outcome",
    "reason",
    "request_id",
    "node",
    "peer",
    "nonce",
    "details",
)
"""An entry's columns in the order of its leaf."""


class LeafError(LogError):
    """A column holds something that no entry was ever stored with."""


def encode_leaf(columns: Sequence[Any]) -> bytes:
    """Encode the leaf of an entry with these columns, in the order of FIELDS; version 1, the only one so far.

    `{"version":1,"event_id":"…","time":…,"actor":"…",…,"nonce":"…","details":{…}}` without spaces, UTF-8 unescaped;
    what is null is `null`. `time` is in microseconds since 1970. `details` is the stored JSON text as it is; being
    last, it cannot pass for another member. Where the leaf would be longer than a log entry may be, 65,535 bytes,
    `"details_sha256":"…"` stands in its place. Raises LeafError for a column of an impossible type.
    """
    version, event_id, time, actor, kind, action, target, outcome, reason, request_id, node, peer, nonce, details = (
        columns
    )
    if version != 1:
        raise LeafError(f"an entry of version {version!r} is from a newer version of the software")
    try:
        head = (
            f'{{"version":1,"event_id":{quoted(event_id)},"time":{time:d},"actor":{quoted(actor)},'
            f'"actor_kind":{quoted(kind)},"action":{quoted(action)},'
            f'"target":{"null" if target is None else quoted(target)},"outcome":{quoted(outcome)},'
            f'"reason":{"null" if reason is None else quoted(reason)},'
            f'"request_id":{"null" if request_id is None else quoted(request_id)},"node":{quoted(node)},'
            f'"peer":{"null" if peer is None else quoted(peer)},"nonce":{quoted(nonce)},"details'
        )
        leaf = f'{head}":{details}}}'.encode()
        if len(leaf) <= MAX_ENTRY:
            return leaf
        return f'{head}_sha256":"{hashlib.sha256(details.encode()).hexdigest()}"}}'.encode()
    except (TypeError, ValueError, AttributeError) as error:
        raise LeafError(f"a column of the entry {event_id!r} has an impossible type or text") from error
