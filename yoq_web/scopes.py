"""Scopes: what a token may do, written `<resource>:<verb>` or `*`. The rules of matching are yoq's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from yoq_web.app_local import AppLocal

ANYTHING = "*"
"""The administrator's scope."""

JOINING = "agents:join"
"""What the join token may do. No other token can be given it."""

RESOURCES = (
    "apps",
    "secrets",
    "policies",
    "certificates",
    "status",
    "services",
    "cluster",
    "agents",
    "containers",
    "images",
    "s3",
)
"""yoq's resources. Each plugin adds one: its own name."""


def is_scope(word: str) -> bool:
    """Tell whether `word` has the form of a scope. Tokens keep theirs joined by commas, so none may hold one."""
    return re.fullmatch(r"\*|[a-z][a-z0-9_]*:([a-z][a-z0-9_]*|\*)", word) is not None


SCOPE = "scope"
"""The format of a scope in a JSON schema; the description of the API lists there those that a token may be given."""


def is_granted(held: Iterable[str], required: str) -> bool:
    """Tell whether one of the scopes `held` covers `required`; `write` covers `read`, no other verb covers another."""
    resource, _, verb = required.partition(":")
    covering = {ANYTHING, required, f"{resource}:*"} if verb else {ANYTHING}
    if verb == "read":
        covering.add(f"{resource}:write")
    return not covering.isdisjoint(held)


@dataclass
class Vocabulary:
    """The scopes of one application: its resources, yoq's and one for each plugin, and what is declared beyond them."""

    plugins: list[str] = field(default_factory=list)
    declared: set[str] = field(default_factory=set)

    @property
    def resources(self) -> tuple[str, ...]:
        """Every resource that a scope may name."""
        return (*RESOURCES, *self.plugins)

    @property
    def words(self) -> tuple[str, ...]:
        """Every scope that a token may be given."""
        return self._list_words(self.resources, self.declared)

    @property
    def core_words(self) -> tuple[str, ...]:
        """Those that are no plugin's."""
        return self._list_words(
            RESOURCES, {word for word in self.declared if word.partition(":")[0] not in self.plugins}
        )

    @staticmethod
    def _list_words(resources: Iterable[str], declared: Iterable[str]) -> tuple[str, ...]:
        """List three for each resource, and those that operations and routes declare."""
        words = {ANYTHING, "cluster:admin", *declared}
        words.update(f"{resource}:{verb}" for resource in resources for verb in ("read", "write", "*"))
        return tuple(sorted(words - {JOINING}))


current_vocabulary: AppLocal[Vocabulary] = AppLocal("vocabulary", lambda _app: Vocabulary())
