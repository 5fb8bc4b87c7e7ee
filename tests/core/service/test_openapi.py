"""The description of the API: valid, whole, and made of the declarations that also guard and validate."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Flask
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel
from werkzeug.routing import Rule

from tests.conftest import Api, MakeApp
from yoq_web import Contribution, Operation, endpoint, hookimpl
from yoq_web.http.endpoints import Declaration, find_declaration


class Adder:
    """A plugin with an operation, a route and a model called `Item`, as every one of its kind has."""

    def __init__(self, name: str, model: type[BaseModel]) -> None:
        self.name = name
        self.model = model

    @hookimpl
    def yoq_contribute(self) -> Contribution:
        """Add an operation and its route."""
        add = Operation(f"{self.name}_add", "Add an item", f"{self.name}:write")
        blueprint = Blueprint(self.name, __name__)

        @blueprint.post(f"/v1/{self.name}/<path:place>", endpoint="add")
        @endpoint(add, body=self.model, answer=list[self.model])  # type: ignore[name-defined]  # known when it runs
        def add_item(place: str, body: BaseModel) -> list[BaseModel]:
            """Add an item.

            It is kept nowhere.
            """
            with add.performed(place):
                return [body]

        return Contribution(operations=(add,), blueprints=(blueprint,))


def fruit() -> Adder:
    """A plugin whose items are fruit."""

    class Ripeness(BaseModel):
        days: int

    class Item(BaseModel):
        fruit: str
        ripeness: Ripeness | None = None

    return Adder("fruit", Item)


def tools() -> Adder:
    """A plugin whose items are tools; its models have the names of the other's."""

    class Ripeness(BaseModel):
        weeks: int

    class Item(BaseModel):
        tool: str
        ripeness: Ripeness | None = None
        parts: list[Item] = []

    Item.model_rebuild(_types_namespace={"Item": Item})
    return Adder("tools", Item)


def description(app: Flask) -> dict[str, Any]:
    """The document, as anybody gets it."""
    answer = Api(app, token=None)("GET", "/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    document: dict[str, Any] = answer.get_json()
    return document


def test_it_is_valid(make_app: MakeApp) -> None:
    """The document is valid OpenAPI 3.1, with plugins as without them, and every reference leads somewhere."""
    for plugins in ((), (fruit(), tools())):
        document = description(make_app(*plugins))
        assert document["openapi"].startswith("3.1")
        OpenAPIV31SpecValidator(document).validate()
        for reference in re.findall(r"#/components/schemas/([^'\"]+)", str(document)):
            assert reference in document["components"]["schemas"]


def declared(app: Flask, rule: Rule) -> Declaration:
    """What was declared for a route."""
    found = find_declaration(app.view_functions[rule.endpoint])
    assert found is not None
    return found


def test_it_covers_every_route(make_app: MakeApp) -> None:
    """Every method of every route is described, a plugin's as well, but for those that only spell another one anew."""
    app = make_app(fruit())
    described = {(path, method.upper()) for path, methods in description(app)["paths"].items() for method in methods}
    mounted = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not declared(app, rule).hidden
    }
    assert described == mounted
    assert all(path.startswith("/v1/") or path.count("/") == 1 for path, _ in described)
    assert ("/v1/fruit/{place}", "POST") in described


def test_models_of_one_name_do_not_clash(make_app: MakeApp) -> None:
    """Schemas bear their owner's name: two plugins may have a model of the same name, nested ones included."""
    schemas = description(make_app(fruit(), tools()))["components"]["schemas"]
    assert list(schemas["fruit.Item"]["properties"]) == ["fruit", "ripeness"]
    assert list(schemas["tools.Item"]["properties"]) == ["tool", "ripeness", "parts"]
    assert schemas["tools.Item"]["properties"]["parts"]["items"] == {"$ref": "#/components/schemas/tools.Item"}
    assert list(schemas["fruit.Ripeness"]["properties"]) == ["days"]
    assert list(schemas["tools.Ripeness"]["properties"]) == ["weeks"]
    assert [name for name in schemas if "." not in name] == ["Problem"]


def test_every_schema_has_a_title_of_its_own(make_app: MakeApp) -> None:
    """Generators name their classes by the titles: of two with one title one is lost, and a good answer is an error."""
    schemas = description(make_app(fruit(), tools()))["components"]["schemas"]
    assert {name: schema["title"] for name, schema in schemas.items()} == {name: name for name in schemas}


def test_a_plugins_route_says_what_it_needs(make_app: MakeApp) -> None:
    """A plugin's route is described with its scope, its audit label, its texts and its body, from its declaration."""
    document = description(make_app(fruit()))
    added = document["paths"]["/v1/fruit/{place}"]["post"]
    assert (added["x-scope"], added["x-audited-as"]) == ("fruit:write", "fruit_add")
    assert (added["summary"], added["description"]) == ("Add an item", "It is kept nowhere.")
    assert added["security"] == [{"token": []}]
    body = added["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/fruit.Item"}
    assert {"200", "400", "401", "403", "413", "429"} <= added["responses"].keys()


def test_the_scopes_of_tokens_are_listed(make_app: MakeApp) -> None:
    """The scopes that a token may be given are in the description, those of plugins among them."""
    schema = description(make_app(fruit()))["components"]["schemas"]["tokens.TokenIn"]
    scopes = schema["properties"]["scopes"]["items"]["enum"]
    assert {"*", "secrets:read", "audit:read", "fruit:write", "fruit:*"} <= set(scopes)


def test_what_is_public_is_told_apart(app: Flask) -> None:
    """Exactly the routes that answer without a token are described as public."""
    stranger = Api(app, token=None)
    for path, methods in description(app)["paths"].items():
        if "get" in methods:
            answer = stranger("GET", re.sub(r"\{\w+\}", "000", path))
            assert (answer.status_code == 200) == ("security" not in methods["get"]), path


def test_what_is_described_is_what_validates(make_app: MakeApp) -> None:
    """What the schema of a plugin's body does not allow is refused before the plugin's code runs."""
    api = Api(make_app(fruit()))
    assert api("POST", "/v1/fruit/a/b", json={"fruit": "pear", "ripeness": {"days": 3}}).status_code == 200
    refused = api("POST", "/v1/fruit/a/b", json={"fruit": "pear", "ripeness": {"days": "hunter2"}})
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid ripeness")
    assert "hunter2" not in refused.text
