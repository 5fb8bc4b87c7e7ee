"""What an apply would change: the workloads of a document against those of the app's newest release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from yoq_web.apps.manifest.document import ARRAYS, AppManifest
from yoq_web.jsontext import dumps
from yoq_web.names import is_storable

CHANGES = ("create", "update", "delete", "unchanged")


def list_changes(proposed: AppManifest, current: AppManifest | None) -> list[dict[str, str]]:
    """List each named workload with its change: by kind, the proposed ones in their order, then those deleted."""
    found: list[dict[str, str]] = []
    for kind in ARRAYS:
        new = _index_by_name(proposed.objects[kind])
        old = _index_by_name(current.objects[kind]) if current else {}
        for name, text in new.items():
            change = "create" if name not in old else "unchanged" if old[name] == text else "update"
            found.append({"kind": kind, "name": name, "change": change})
        found.extend({"kind": kind, "name": name, "change": "delete"} for name in old if name not in new)
    return found


def make_diff_document(
    proposed: AppManifest, new_hash: str, current: AppManifest | None, current_id: str | None, current_hash: str | None
) -> dict[str, Any]:
    """Make the diff document, in yoq's key order."""
    changed = list_changes(proposed, current)
    counts = Counter(item["change"] for item in changed)
    return {
        "app_name": proposed.app,
        "proposed_manifest_hash": new_hash,
        "current_release_id": current_id,
        "current_manifest_hash": current_hash,
        "summary": {change: counts[change] for change in CHANGES},
        "changes": changed,
    }


def _index_by_name(objects: tuple[Mapping[str, Any], ...]) -> dict[str, str]:
    """Write the objects' texts by their names; those without one that can be told are left out."""
    return {
        name: dumps(found)
        for found in objects
        if isinstance(name := found.get("name"), str) and name and is_storable(name)
    }
