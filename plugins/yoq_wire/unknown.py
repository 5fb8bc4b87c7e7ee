"""Paths under yoq's own that no route answers: 404, or 405 where yoq knows the path by another method."""

from __future__ import annotations

import re

from yoq_web import is_plain_text

HEX_ID = re.compile(r"[0-9a-f]{1,64}")

APP = re.compile(
    r"/apps/([^/]+)/(?:status|history|rollback|rollout/(?:pause|resume|cancel)|workers/[^/]+/run"
    r"|training/[^/]+/(start|stop|pause|resume|scale|status|logs))"
)
AGENT = re.compile(r"/agents/([^/]+)(/.*)?")
OF_AGENT = re.compile(r"/(?:labels|heartbeat|assignments|drain|assignments/[^/]+/status)")

Refusal = tuple[int, str]

NOT_FOUND = (404, "not found")
NOT_ALLOWED = (405, "method not allowed")


def choose_refusal(method: str, path: str) -> Refusal:
    """The status and the text with which yoq answers a request that no route of ours is for."""
    if found := APP.fullmatch(path):
        if not is_plain_text(found[1]):
            return 400, "invalid app name"
        # There are no training jobs here: none of them is found by the right method.
        right = "GET" if found[2] in ("status", "logs") else "POST"
        return NOT_FOUND if found[2] and method == right else NOT_ALLOWED
    if found := AGENT.fullmatch(path):
        if not HEX_ID.fullmatch(found[1]):
            return 400, "invalid agent id"
        return NOT_ALLOWED if OF_AGENT.fullmatch(found[2] or "") else NOT_FOUND
    return NOT_FOUND
