"""OpenAPI 3.1 from the declarations that also guard and validate; plugins' routes included."""

from __future__ import annotations

from typing import Any

from flask import Flask
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from werkzeug.routing import Rule

from yoq_web.app_local import AppLocal
from yoq_web.http.endpoints import Declaration, find_declaration
from yoq_web.http.pages import PageQuery
from yoq_web.scopes import JOINING, SCOPE, current_vocabulary
from yoq_web.settings import VERSION

REFERENCE = "#/components/schemas/{model}"

PROBLEM = {
    "type": "object",
    "description": "An error (RFC 9457). `error` is the short text that clients match on.",
    "required": ["error", "type", "title", "status"],
    "properties": {
        "error": {"type": "string"},
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def describe_api(app: Flask) -> dict[str, Any]:
    """Describe an application, of which this is the current one."""
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    bodies: set[str] = set()
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        declaration = find_declaration(app.view_functions[rule.endpoint])
        if declaration is None or declaration.hidden:
            continue
        path = "".join(f"{{{part}}}" if variable else part for variable, part in _split_rule(rule))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _describe_operation(rule, declaration, schemas)
        if declaration.body:
            bodies |= _name_models(declaration.body, rule.endpoint.partition(".")[0])
    for name in bodies:
        schemas[name].setdefault("additionalProperties", False)  # what a body has beside is refused
    for name, schema in schemas.items():
        schema["title"] = name  # by which generators name their classes: several owners have a model of one name
    return {
        "openapi": "3.1.0",
        # Beside this document, wherever a proxy has it: the URL is relative to where the document was found.
        "servers": [{"url": "."}],
        "info": {
            "title": "yoq-web",
            "version": VERSION,
            "description": "An admin control plane whose every sensitive operation leaves an audit record.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The admin token, or a named token that holds the operation's `x-scope`.",
                },
                "join": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The join token, which agents share.",
                },
            },
        },
    }


current_api: AppLocal[dict[str, Any]] = AppLocal("openapi", describe_api)
"""The document, made once: nothing is mounted after start-up."""


def _describe_operation(rule: Rule, declaration: Declaration, schemas: dict[str, Any]) -> dict[str, Any]:
    owner, _, name = rule.endpoint.partition(".")
    described: dict[str, Any] = {
        "operationId": f"{owner}_{name}",
        "tags": [owner],
        "summary": declaration.summary,
        "responses": _describe_responses(rule, declaration, schemas, owner),
    }
    if declaration.description:
        described["description"] = declaration.description
    if declaration.scope:
        described["security"] = [{"join": []} if declaration.scope == JOINING else {"token": []}]
        described["x-scope"] = declaration.scope
    if declaration.operation:
        described["x-audited-as"] = declaration.operation.name
    if parameters := [*_describe_path(rule), *_describe_query(declaration, schemas, owner)]:
        described["parameters"] = parameters
    if declaration.body:
        schema = _describe_schema(declaration.body, schemas, owner, "validation")
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _describe_responses(rule: Rule, declaration: Declaration, schemas: dict[str, Any], owner: str) -> dict[str, Any]:
    kinds = [kind.partition(";")[0].strip() for kind in declaration.media_type.split(",")]
    schema = _describe_schema(declaration.answer, schemas, owner, "serialization")
    good: dict[str, Any] = {"description": "Done", "content": {kind: {"schema": schema} for kind in kinds}}
    headers = {}
    if declaration.operation:
        headers["Audit-Id"] = "The id of the entry that this left"
    if declaration.query is not None and issubclass(declaration.query, PageQuery):
        headers["Link"] = 'Where the list goes on, with `rel="next"`; none at its end'
    if headers:
        good["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    errors = {"default": "Another problem"}
    if declaration.scope:
        errors |= {"401": "No valid token", "403": "The token lacks the scope, or a plugin vetoed the operation"}
        errors["429"] = "Too many failed authentications from this address, or too many bodies that do not arrive"
        errors["503"] = "The database is away, or too many requests are under way"
    if declaration.body or declaration.query or rule.arguments:
        errors["400"] = "The request is malformed; `error` says what is wrong"
    if declaration.body:
        errors |= {"408": "The body did not arrive in time", "413": "The body is too large"}
    if declaration.operation:
        errors["503"] = "Not done: the database is away, or the operation could not be recorded"
    if rule.arguments:
        errors["404"] = "There is no such thing"
    answers: dict[str, Any] = {}
    for status, error in {**errors, **{str(status): error for status, error in declaration.errors.items()}}.items():
        if isinstance(error, str):
            answers[status] = {"description": error, "content": problem}
        else:
            content = {"application/json": {"schema": _describe_schema(error, schemas, owner, "serialization")}}
            answers[status] = {"description": error.__doc__ or "", "content": content}
    return {str(declaration.status): good, **dict(sorted(answers.items()))}


def _describe_path(rule: Rule) -> list[dict[str, Any]]:
    names = [part for variable, part in _split_rule(rule) if variable]
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _describe_query(declaration: Declaration, schemas: dict[str, Any], owner: str) -> list[dict[str, Any]]:
    if declaration.query is None:
        return []
    schema = declaration.query.model_json_schema(ref_template=REFERENCE)
    _keep_definitions(schema, schemas, owner)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in schema["properties"].items()
    ]


def _describe_schema(kind: Any, schemas: dict[str, Any], owner: str, mode: JsonSchemaMode) -> dict[str, Any]:
    """Describe a type. Models go among the components, under their owner's name: two may have a model `Item`."""
    schema = TypeAdapter(kind).json_schema(mode=mode, ref_template=REFERENCE, schema_generator=GenerateJsonSchema)
    renamed = _keep_definitions(schema, schemas, owner)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        name = f"{owner}.{kind.__name__}"
        if "$ref" not in renamed:  # a model that holds its like is among its own definitions, and kept already
            schemas[name] = renamed
        return {"$ref": REFERENCE.format(model=name)}
    return renamed


def _name_models(model: type[BaseModel], owner: str) -> set[str]:
    """Name the schemas of a model and of those inside it."""
    inside: dict[str, Any] = model.model_json_schema().get("$defs", {})
    return {f"{owner}.{name}" for name, schema in inside.items() if "properties" in schema} | {
        f"{owner}.{model.__name__}"
    }


def _keep_definitions(schema: dict[str, Any], schemas: dict[str, Any], owner: str) -> dict[str, Any]:
    """Move a schema's definitions among the components, and return it with its references following them there."""
    definitions = schema.pop("$defs", {})
    renamed: dict[str, Any] = _rewrite_references(schema, owner)
    for name, definition in definitions.items():
        schemas[f"{owner}.{name}"] = _rewrite_references(definition, owner)
    return renamed


def _rewrite_references(part: Any, owner: str) -> Any:
    if isinstance(part, dict):
        moved = {key: _rewrite_references(value, owner) for key, value in part.items()}
        if part.get("format") == SCOPE:
            moved["enum"] = list(current_vocabulary().words)
        if isinstance(reference := part.get("$ref"), str):
            moved["$ref"] = REFERENCE.format(model=f"{owner}.{reference.rpartition('/')[2]}")
        return moved
    return [_rewrite_references(item, owner) for item in part] if isinstance(part, list) else part


def _split_rule(rule: Rule) -> list[tuple[bool, str]]:
    """Split a rule's text into pieces: (whether it is a variable, the text or the variable's name)."""
    return [(variable, part) for variable, part in rule._trace if part and part != "|"]
