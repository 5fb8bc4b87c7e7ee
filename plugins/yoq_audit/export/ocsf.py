"""Entries as events of the Open Cybersecurity Schema Framework: class 6003, API Activity, of schema version 1.8.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from yoq_audit.export.ndjson import make_lines
from yoq_audit.export.sealed_log import Row
from yoq_web import VERSION, Operation, current_operations, dumps

SCHEMA_VERSION = "1.8.0"
CATEGORY_UID = 6
CLASS_UID = 6003

ACTIVITIES = {"create": (1, "Create"), "read": (2, "Read"), "update": (3, "Update"), "delete": (4, "Delete")}
OTHER = (99, "Other")
"""What the operation says that it does; where it says nothing, or is unknown by now, it is named by its label."""

SUCCESS, FAILURE, UNKNOWN_STATUS, OTHER_STATUS = 1, 2, 0, 99
STATUSES = {
    "ok": (SUCCESS, "Success"),
    "failed": (FAILURE, "Failure"),
    "denied": (FAILURE, "Failure"),
    "interrupted": (UNKNOWN_STATUS, "Unknown"),
}

SEVERITIES = {"ok": (1, "Informational"), "denied": (3, "Medium")}
LOW = (2, "Low")

USER_TYPES = {"admin": (2, "Admin"), "local": (1, "User"), "token": (4, "Service"), "join": (4, "Service")}
UNKNOWN_TYPE = (0, "Unknown")

ADDRESS = re.compile(r"[0-9a-fA-F:.]+")


def encode_entries(rows: Iterable[Row]) -> bytes:
    """Write entries as events, one a line."""
    rows, operations = list(rows), current_operations()
    events = (make_event(row, line, operations) for row, line in zip(rows, make_lines(rows), strict=True))
    return "".join([f"{dumps(event)}\n" for event in events]).encode()


def make_event(row: Row, line: str, operations: Mapping[str, Operation]) -> dict[str, Any]:
    """Make an event of an entry and its line of ndjson. What the schema has no place for is in `unmapped`."""
    entry = json.loads(line)
    action, outcome = entry["action"], entry["outcome"]
    operation = operations.get(action)
    known = ACTIVITIES.get(operation.activity) if operation and operation.activity else None
    activity_id, activity = known or OTHER
    status_id, status = STATUSES.get(outcome, (OTHER_STATUS, outcome))
    severity_id, severity = SEVERITIES.get(outcome, LOW)
    found: dict[str, Any] = {
        "activity_id": activity_id,
        "activity_name": activity if known else action,
        "category_uid": CATEGORY_UID,
        "category_name": "Application Activity",
        "class_uid": CLASS_UID,
        "class_name": "API Activity",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": f"API Activity: {activity}",
        "severity_id": severity_id,
        "severity": severity,
        "time": row[7] // 1000,
        "status_id": status_id,
        "status": status,
        "status_code": outcome,
    }
    if entry["reason"] is not None:
        found["status_detail"] = entry["reason"]
    found["message"] = f"{entry['actor']}: {action}" + (f" {entry['target']}" if entry["target"] is not None else "")
    found["metadata"] = {
        "version": SCHEMA_VERSION,
        "uid": entry["event_id"],
        "sequence": row[0],
        "original_time": entry["time"],
        "log_name": "audit",
        "log_version": str(entry["version"]),
        "product": {"name": "yoq-web", "vendor_name": "yoq-web", "version": VERSION},
    }
    found["actor"] = {"user": _make_user(entry)}
    found["api"] = {"operation": action, "service": {"name": "yoq-web"}}
    if entry["request_id"] is not None:
        found["api"]["request"] = {"uid": entry["request_id"]}
    found["src_endpoint"] = _make_source(entry)
    if entry["target"] is not None:
        found["resources"] = [{"name": entry["target"], "type": action.partition("_")[0]}]
    found["unmapped"] = {
        "node": entry["node"],
        "actor_kind": entry["actor_kind"],
        "details": entry["details"],
        "nonce": entry["nonce"],
    }
    return found


def _make_user(entry: dict[str, Any]) -> dict[str, Any]:
    type_id, kind = USER_TYPES.get(entry["actor_kind"], UNKNOWN_TYPE)
    return {"name": entry["actor"], "type_id": type_id, "type": kind}


def _make_source(entry: dict[str, Any]) -> dict[str, str]:
    """Say where the call came from: an address, or for a command the machine itself."""
    peer = entry["peer"]
    if peer is None:
        return {"name": entry["node"]}
    return {"ip": peer} if ADDRESS.fullmatch(peer) else {"name": peer}
