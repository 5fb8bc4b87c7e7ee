"""Descriptions of actors, as plugins give them to those who read the trail."""

from __future__ import annotations

import functools
import time

from yoq_web.actors import Actor
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.hooks.questions import Question, Unanswered

HOOK = "yoq_describe_actor"

LENGTH = 256
"""So many characters of a description are shown: a page has one for each of its entries."""

ANSWER_SECONDS = 1.0
"""How long a plugin may take to describe an actor; it is not asked again before it has answered."""


def describe_actor(actor: Actor) -> str | None:
    """Ask the plugins about an actor; the first that knows is returned, else None.

    One that fails is passed over, and so is one that does not answer in time.
    """
    for ask in current_host().find_implementations(HOOK):
        question = Question(f"{HOOK} {ask.plugin}", functools.partial(ask, actor=actor))
        try:
            description = question.wait(time.monotonic() + ANSWER_SECONDS)
        except Unanswered as error:
            if question.was_put:
                report_hook_failure(ask.plugin, HOOK, error)
            continue
        except HOOK_ERRORS as error:
            report_hook_failure(ask.plugin, HOOK, error)
            continue
        if isinstance(description, str):
            return description[:LENGTH].encode(errors="replace").decode()
    return None
