"""The two operations that take entries away. Without their own entry nothing goes."""

from __future__ import annotations

from yoq_web import Operation

audit_prune = Operation(
    "audit_prune",
    "Prune old entries of the trail",
    "*",
    details=(
        "minimum_before",
        "minimum_after",
        "entries",
        "older_than",
        "cutoff",
        "archive",
        "archive_sha256",
        "archive_bytes",
        "asked_by",
        "signature",
    ),
    audit_failure="refuse",
    activity="delete",
)
audit_erase = Operation(
    "audit_erase",
    "Erase one entry of the trail",
    "*",
    details=("index", "started_index", "reason", "signature"),
    audit_failure="refuse",
    activity="delete",
)
