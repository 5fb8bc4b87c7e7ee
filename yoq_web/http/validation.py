"""What is wrong with an input, in the words and the order of yoq, whose clients match on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from yoq_web.names import find_nearest
from yoq_web.problems import Problem

TOLD = re.compile(r"(?=.{1,64}\Z)[A-Za-z_]+(\.([0-9]+|[A-Za-z_]+))*(!|\[\])?")
"""Names that are told back: words, and the way to them. Of anything else, somebody may have mistaken name and value."""


def choose_extra(model: type[BaseModel], *, lenient: bool) -> Literal["ignore", "forbid"] | None:
    """Choose what becomes of members that `model` does not have; None where it says so itself.

    The choice is for the models inside it, too.
    """
    if "extra" in model.model_config:
        return None
    return "ignore" if lenient else "forbid"


def is_lenient(info: ValidationInfo) -> bool:
    """Tell a model's validator whether it reads for a route that takes whatever its clients send."""
    return bool(info.context and info.context["lenient"])


def refuse_repeated(raw: bytes) -> None:
    """Raise a 400 for a JSON text in which an object has a member twice: of those, readers take one or the other."""
    try:
        json.loads(raw, object_pairs_hook=_check_members)
    except (ValueError, RecursionError):  # it is told what is wrong by whoever reads it
        return


def _check_members(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Problem(400, f"repeated member{_show(name)}", "it is there twice")
        seen.add(name)


def explain_unknown(kind: str, name: str, known: Iterable[str]) -> Problem:
    """Make the 400 for a parameter or a member that is not known; it names the nearest one that is."""
    return Problem(400, f"unknown {kind}{_show(name)}", _suggest(name, tuple(known)))


def explain_invalid(model: type[BaseModel], error: ValidationError, kind: str = "parameter") -> Problem:
    """Explain the first thing wrong with an input, as a 400; no value is ever echoed, since it may be secret.

    `kind` is what a name of `model` stands for. What is not known is told besides: a member that is missing may be
    there under another name.
    """
    # yoq looks for all its fields first and at their values second, each in the order of the fields.
    errors = error.errors(include_url=False, include_context=True)
    first = errors[0]
    if not first["loc"]:
        field = next(iter(model.model_fields))
        return Problem(400, f"missing {field} field", f"the body is not a JSON object: {first['msg']}")
    order = {name: place for place, name in enumerate(model.model_fields)}
    ranked = sorted(errors, key=lambda found: (not _is_absent(found), order.get(str(found["loc"][0]), 99)))
    unknown = [_explain_extra(model, found, kind) for found in errors if found["type"] == "extra_forbidden"]
    if ranked[0]["type"] == "extra_forbidden":
        return unknown[0]
    problem = _explain(ranked[0])
    told = [f"{other.error}: {other.detail}" for other in unknown[:1]]
    return Problem(problem.status, problem.error, "; ".join(filter(None, (problem.detail, *told))) or None)


def _explain_extra(model: type[BaseModel], found: ErrorDetails, kind: str) -> Problem:
    """Explain that a name is not known. Of models inside the model the names are not told."""
    where = [str(part) for part in found["loc"]]
    known = [field.alias or name for name, field in model.model_fields.items()] if len(where) == 1 else []
    return explain_unknown(kind, ".".join(where), known)


def _suggest(name: str, known: tuple[str, ...]) -> str:
    if nearest := find_nearest(name, known):
        return f"did you mean {nearest}?"
    return f"there are {', '.join(known)}" if known else "there are none"


def _show(name: str) -> str:
    """Show a name that somebody made up, behind what it is; nothing where it may be somebody's secret."""
    return f" {name}" if TOLD.fullmatch(name) else ""


def _is_absent(found: ErrorDetails) -> bool:
    return found["type"] == "missing" or found["type"].endswith("_type") or _is_not_text(found)


def _is_not_text(found: ErrorDetails) -> bool:
    return found["type"] == "literal_error" and not isinstance(found["input"], str)


def _explain(found: ErrorDetails) -> Problem:
    field = str(found["loc"][0])
    message = found["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] == "missing":
        return Problem(400, f"missing {where} field")
    if _is_absent(found):
        return Problem(400, f"missing {field} field", f"{where}: {message}")
    if found["type"] == "string_too_short":
        return Problem(400, f"{field} cannot be empty")
    if found["type"] == "literal_error":
        return Problem(400, f"{field} must be {found['ctx']['expected']}")
    return Problem(400, f"invalid {field}", f"{where}: {message}")
