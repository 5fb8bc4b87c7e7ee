"""Entries as events of the Open Cybersecurity Schema Framework: class 6003, API Activity, of schema version 1.8.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from yoq_audit.export.ndjson import MEDIA_TYPE, lines
from yoq_audit.export.scan import Row
from yoq_web import VERSION, dumps

__all__ = ["MEDIA_TYPE", "SCHEMA_VERSION", "encoded", "event", "head"]

SCHEMA_VERSION = "1.8.0"
CATEGORY_UID = 6
CLASS_UID = 6003

CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
ACTIVITIES = {CREATE: "Create", READ: "Read", UPDATE: "Update", DELETE: "Delete", OTHER: "Other"}
VERBS = {
    **dict.fromkeys(("add", "backup", "create", "post", "register"), CREATE),
    **dict.fromkeys(("export", "follow", "get", "list", "read", "show"), READ),
    **dict.fromkeys(("apply", "drain", "restore", "rollback", "rotate", "set", "undrain", "update"), UPDATE),
    **dict.fromkeys(("delete", "erase", "prune", "remove", "revoke"), DELETE),
}
"""The kind of activity by the last word of an action's label; of any other action it is "Other", named by the label."""

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


def head() -> bytes:
    """Nothing comes before the events."""
    return b""


def encoded(rows: Iterable[Row]) -> bytes:
    """The entries as events, one a line."""
    rows = list(rows)
    return "".join([f"{dumps(event(row, line))}\n" for row, line in zip(rows, lines(rows), strict=True)]).encode()


def event(row: Row, line: str) -> dict[str, Any]:
    """One entry, given its line as ndjson too, as an event. What the schema has no place for is in `unmapped`."""
    entry = json.loads(line)
    action, outcome = entry["action"], entry["outcome"]
    activity = VERBS.get(action.rpartition("_")[2], OTHER)
    status_id, status = STATUSES.get(outcome, (OTHER_STATUS, outcome))
    severity_id, severity = SEVERITIES.get(outcome, LOW)
    found: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": action if activity == OTHER else ACTIVITIES[activity],
        "category_uid": CATEGORY_UID,
        "category_name": "Application Activity",
        "class_uid": CLASS_UID,
        "class_name": "API Activity",
        "type_uid": CLASS_UID * 100 + activity,
        "type_name": f"API Activity: {ACTIVITIES[activity]}",
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
    found["actor"] = {"user": _user(entry)}
    found["api"] = {"operation": action, "service": {"name": "yoq-web"}}
    if entry["request_id"] is not None:
        found["api"]["request"] = {"uid": entry["request_id"]}
    found["src_endpoint"] = _source(entry)
    if entry["target"] is not None:
        found["resources"] = [{"name": entry["target"], "type": action.partition("_")[0]}]
    found["unmapped"] = {
        "node": entry["node"],
        "actor_kind": entry["actor_kind"],
        "details": entry["details"],
        "nonce": entry["nonce"],
    }
    return found


def _user(entry: dict[str, Any]) -> dict[str, Any]:
    type_id, kind = USER_TYPES.get(entry["actor_kind"], UNKNOWN_TYPE)
    return {"name": entry["actor"], "type_id": type_id, "type": kind}


def _source(entry: dict[str, Any]) -> dict[str, str]:
    """Where the call came from: an address, or for a command the machine itself."""
    peer = entry["peer"]
    if peer is None:
        return {"name": entry["node"]}
    return {"ip": peer} if ADDRESS.fullmatch(peer) else {"name": peer}
