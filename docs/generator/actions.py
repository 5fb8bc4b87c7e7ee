"""The catalogue of actions: every operation that leaves an entry, what its target is and what its details say."""

from __future__ import annotations

from flask import Flask

from docs.generator.blocks import code, make_table
from docs.generator.words import ACTIONS, DETAILS
from yoq_web.contributions.registry import current_registry
from yoq_web.operations.operation import Operation

WHERE = "docs/generator/words.py"


def write_actions(app: Flask) -> str:
    """Write a section an owner, and below it one an action. Raises LookupError for one that nobody has described."""
    routes = _routes(app)
    known = {op.name for found in current_registry(app).contributions.values() for op in found.operations}
    if gone := ACTIONS.keys() - known:
        raise LookupError(f"{WHERE} describes {', '.join(sorted(gone))}, which no operation bears")
    parts = []
    for owner, found in current_registry(app).contributions.items():
        if found.operations:
            parts.append(f"## {owner}")
            parts += [_describe(operation, routes.get(operation.name, [])) for operation in found.operations]
    return "\n\n".join(parts)


def _describe(operation: Operation, routes: list[str]) -> str:
    if operation.name not in ACTIONS:
        raise LookupError(f"say in {WHERE} what the target of {operation.name!r} is, and since which version it exists")
    target, since, done_by = ACTIONS[operation.name]
    where = ", ".join(map(code, routes)) if routes else ""
    facts = [
        ("target", target or "none"),
        ("done by", " and ".join(part for part in (where, done_by) if part)),
        ("needs", code(operation.scope)),
        ("since", since),
        ("activity", operation.activity or "other"),
    ]
    if operation.external:
        facts.append(("effect", "outside the database: first `started`, then the outcome"))
    if operation.audit_failure:
        facts.append(("if it cannot be recorded", "it is refused, whatever `YOQ_AUDIT_FAILURE` says"))
    facts += [(f"detail {code(name)}", _detail(operation.name, name)) for name in operation.details]
    return f"### {operation.name}\n\n{operation.summary}.\n\n{make_table(('', ''), facts)}".strip()


def _detail(action: str, name: str) -> str:
    said = DETAILS.get(f"{action}.{name}", DETAILS.get(name))
    if said is None:
        raise LookupError(f"say in {WHERE} what the detail {name!r} of {action!r} means")
    return said


def _routes(app: Flask) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, methods in app.test_client().get("/openapi.json").get_json()["paths"].items():
        for method, route in methods.items():
            found.setdefault(route.get("x-audited-as", ""), []).append(f"{method.upper()} {path}")
    return found
