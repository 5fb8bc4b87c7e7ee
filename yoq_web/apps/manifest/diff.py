"""What an apply would change: the workloads of a document against those of the app's newest release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from yoq_web.apps.manifest.document import ARRAYS, Manifest, storable_text
from yoq_web.jsontext import dumps

CHANGES = ("create", "update", "delete", "unchanged")


def changes(proposed: Manifest, current: Manifest | None) -> list[dict[str, str]]:
    """Each named workload with its change: by kind, the proposed ones in their order, then those that are deleted."""
    found: list[dict[str, str]] = []
    for kind in ARRAYS:
        new = _named(proposed.objects[kind])
        old = _named(current.objects[kind]) if current else {}
        for name, text in new.items():
            change = "create" if name not in old else "unchanged" if old[name] == text else "update"
            found.append({"kind": kind, "name": name, "change": change})
        found.extend({"kind": kind, "name": name, "change": "delete"} for name in old if name not in new)
    return found


def diff_document(
    proposed: Manifest, new_hash: str, current: Manifest | None, current_id: str | None, current_hash: str | None
) -> dict[str, Any]:
    """The diff document, in yoq's key order."""
    changed = changes(proposed, current)
    counts = Counter(item["change"] for item in changed)
    return {
        "app_name": proposed.app,
        "proposed_manifest_hash": new_hash,
        "current_release_id": current_id,
        "current_manifest_hash": current_hash,
        "summary": {change: counts[change] for change in CHANGES},
        "changes": changed,
    }


def _named(objects: tuple[Mapping[str, Any], ...]) -> dict[str, str]:
    """The objects' texts by their names; those without one that can be told are left out."""
    return {
        name: dumps(found)
        for found in objects
        if isinstance(name := found.get("name"), str) and name and storable_text(name)
    }
