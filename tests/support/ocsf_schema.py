"""What OCSF 1.8.0 demands of class 6003, API Activity, and of the objects in it, as its published schema says."""

from __future__ import annotations

from typing import Any

VERSION = "1.8.0"

REQUIRED: dict[str, set[str]] = {
    "api_activity": {
        "activity_id",
        "actor",
        "api",
        "category_uid",
        "class_uid",
        "metadata",
        "severity_id",
        "src_endpoint",
        "time",
        "type_uid",
    },
    "metadata": {"product", "version"},
    "api": {"operation"},
    "request": {"uid"},
}

AT_LEAST_ONE: dict[str, set[str]] = {
    "actor": {"process", "user", "invoked_by", "session", "app_name", "app_uid"},
    "user": {"account", "name", "uid"},
    "product": {"name", "uid"},
    "service": {"name", "uid"},
    "network_endpoint": {
        "ip",
        "uid",
        "name",
        "hostname",
        "svc_name",
        "instance_uid",
        "interface_uid",
        "interface_name",
        "domain",
    },
    "resource_details": {"name", "uid"},
}

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "api_activity": {
        "activity_id": {0, 1, 2, 3, 4, 99},
        "activity_name": str,
        "category_uid": {6},
        "category_name": str,
        "class_uid": {6003},
        "class_name": str,
        "type_uid": {600300, 600301, 600302, 600303, 600304, 600399},
        "type_name": str,
        "severity_id": {0, 1, 2, 3, 4, 5, 6, 99},
        "severity": str,
        "time": int,
        "status_id": {0, 1, 2, 99},
        "status": str,
        "status_code": str,
        "status_detail": str,
        "message": str,
        "metadata": "metadata",
        "actor": "actor",
        "api": "api",
        "src_endpoint": "network_endpoint",
        "resources": ["resource_details"],
        "unmapped": dict,
    },
    "metadata": {
        "version": {VERSION},
        "uid": str,
        "sequence": int,
        "original_time": str,
        "log_name": str,
        "log_version": str,
        "product": "product",
    },
    "product": {"name": str, "vendor_name": str, "version": str},
    "actor": {"user": "user"},
    "user": {"name": str, "type_id": {0, 1, 2, 3, 4, 99}, "type": str},
    "api": {"operation": str, "request": "request", "service": "service"},
    "request": {"uid": str},
    "service": {"name": str},
    "network_endpoint": {"name": str, "ip": str},
    "resource_details": {"name": str, "type": str},
}
"""Of the schema's attributes those that are used, each with its type, its values, or the object that it is."""


def check(kind: str, value: dict[str, Any]) -> None:
    """Assert that a value is an object of the schema."""
    assert REQUIRED.get(kind, set()) <= value.keys(), (kind, value)
    assert kind not in AT_LEAST_ONE or AT_LEAST_ONE[kind] & value.keys(), (kind, value)
    for name, found in value.items():
        wanted = ATTRIBUTES[kind][name]
        if isinstance(wanted, str):
            check(wanted, found)
        elif isinstance(wanted, list):
            assert found
            for each in found:
                check(wanted[0], each)
        elif isinstance(wanted, set):
            assert found in wanted, (kind, name, found)
            assert type(found) is type(next(iter(wanted)))
        else:
            assert type(found) is wanted, (kind, name, found)
