"""How long an answer may be: some clients take no more than so many bytes, as the plugins say that know them."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request, request

from yoq_web.app_local import AppLocal
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.notifier import report_hook_failure

AnswerLimit = Callable[[Request], int | None]
"""Given a request, says how many bytes of a body its client takes; None where it knows of no limit."""

current_answer_limits: AppLocal[list[tuple[str, AnswerLimit]]] = AppLocal("answer_limits", lambda _app: [])
"""Every contributed limit with its owner."""


def find_answer_limit() -> int | None:
    """Find how many bytes of a body the request's client takes, beside the usual headers; None if any number.

    Routes that can answer with less ask for it. The smallest limit counts; one that raises is reported and does not.
    """
    found: list[int] = []
    for owner, limit in current_answer_limits():
        try:
            if (size := limit(request)) is not None:
                found.append(int(size))
        except HOOK_ERRORS as error:
            report_hook_failure(owner, "answer_limits", error)
    return min(found, default=None)
