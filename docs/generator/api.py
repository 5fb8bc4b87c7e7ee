"""The reference of the HTTP API, from the description that the server itself gives at /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from docs.generator.blocks import code, make_table

Schema = Mapping[str, Any]


def write_api(app: Flask) -> str:
    """Write a section an owner, and below it one a route."""
    document = app.test_client().get("/openapi.json").get_json()
    schemas = document["components"]["schemas"]
    owners: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            text = _describe(f"{method.upper()} {path}", route, schemas)
            owners.setdefault(route["tags"][0], []).append(text)
    return "\n\n".join(f"## {owner}\n\n" + "\n\n".join(routes) for owner, routes in owners.items())


def _describe(title: str, route: Schema, schemas: Schema) -> str:
    said = f"{route['summary']}. {route.get('description', '')}".strip()
    facts = [f"needs {code(route['x-scope'])}" if "x-scope" in route else "public"]
    if "x-audited-as" in route:
        facts.append(f"recorded as {code(route['x-audited-as'])}")
    facts.append(_answer(route, schemas))
    parts = [f"### {title}", said, "; ".join(facts).capitalize() + "."]
    rows = [
        (code(one["name"]), one["in"], _type(one["schema"], schemas), one.get("description", ""))
        for one in route.get("parameters", ())
    ]
    if "requestBody" in route:
        body = next(iter(route["requestBody"]["content"].values()))["schema"]
        rows += _members(_resolve(body, schemas), schemas)
    if rows:
        parts.append(make_table(("name", "where", "type", "meaning"), rows))
    return "\n\n".join(parts)


def _answer(route: Schema, schemas: Schema) -> str:
    status = next(iter(route["responses"]))
    content = route["responses"][status]["content"]
    kinds = ", ".join(map(code, content))
    shape = _type(next(iter(content.values()))["schema"], schemas) if "application/json" in content else ""
    others = [other for other in route["responses"] if other not in (status, "default")]
    return f"answers {status} with {shape or kinds}" + (f", else {', '.join(others)}" if others else "")


def _members(schema: Schema, schemas: Schema) -> list[tuple[str, str, str, str]]:
    needed = schema.get("required", ())
    return [
        (code(name), "body" if name in needed else "body, optional", _type(one, schemas), one.get("description", ""))
        for name, one in schema.get("properties", {}).items()
    ]


def _resolve(schema: Schema, schemas: Schema) -> Schema:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if reference else schema


def _type(schema: Schema, schemas: Schema) -> str:
    """Say a schema's type in a word or two."""
    if "$ref" in schema:
        found = _resolve(schema, schemas)
        return code("{" + ", ".join(found["properties"]) + "}") if found.get("properties") else "an object"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one, schemas) for one in schema["anyOf"]))
    if schema.get("format") == "scope":
        return "a scope"
    if "enum" in schema or "const" in schema:
        return ", ".join(code(str(word)) for word in schema.get("enum", (schema.get("const"),)))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"a list of {_type(schema.get('items', {}), schemas)}"
    return {"null": "null", "integer": "a whole number", "object": "an object", "string": "text"}.get(kind, kind)
