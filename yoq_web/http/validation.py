"""What is wrong with an input, in the words and the order of yoq, whose clients match on them."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from yoq_web.problems import Problem


def explain_invalid(model: type[BaseModel], error: ValidationError) -> Problem:
    """Explain the first thing wrong with an input, as a 400; what was given is never echoed, since it may be secret."""
    # yoq looks for all its fields first and at their values second, each in the order of the fields.
    errors = error.errors(include_url=False, include_context=True)
    first = errors[0]
    if not first["loc"]:
        field = next(iter(model.model_fields))
        return Problem(400, f"missing {field} field", f"the body is not a JSON object: {first['msg']}")
    order = {name: place for place, name in enumerate(model.model_fields)}
    ranked = sorted(errors, key=lambda found: (not _is_absent(found), order.get(str(found["loc"][0]), 99)))
    return _explain(ranked[0])


def _is_absent(found: ErrorDetails) -> bool:
    return found["type"] == "missing" or found["type"].endswith("_type") or _is_not_text(found)


def _is_not_text(found: ErrorDetails) -> bool:
    return found["type"] == "literal_error" and not isinstance(found["input"], str)


def _explain(found: ErrorDetails) -> Problem:
    field = str(found["loc"][0])
    message = found["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return Problem(400, f"unknown parameter {field[:64]}")
    if found["type"] == "missing":
        return Problem(400, f"missing {where} field")
    if _is_absent(found):
        return Problem(400, f"missing {field} field", f"{where}: {message}")
    if found["type"] == "string_too_short":
        return Problem(400, f"{field} cannot be empty")
    if found["type"] == "literal_error":
        return Problem(400, f"{field} must be {found['ctx']['expected']}")
    return Problem(400, f"invalid {field}", f"{where}: {message}")
