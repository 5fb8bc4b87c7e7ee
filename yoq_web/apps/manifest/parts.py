"""A part of an app: the services that are named of a document, and those that stay beside them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from yoq_web.apps.manifest.document import AppManifest, ManifestRefused, parse_body
from yoq_web.jsontext import dumps
from yoq_web.names import find_nearest

Service = Mapping[str, Any]


def index_services(manifest: AppManifest) -> dict[str, Service]:
    """Return a manifest's services by the names that their assignments have: "" without one; of several the last."""
    return {_name_service(service): service for service in manifest.objects["service"]}


def _name_service(service: Service) -> str:
    name = service.get("name")
    return name if isinstance(name, str) else ""


def select_services(body: bytes, names: Sequence[str]) -> bytes:
    """Make the document that has only these of another's services and those that they depend on, as yoq's CLI does.

    The other document must be one that can be read. Raises ManifestRefused for a name that it does not have.
    """
    document = parse_body(body)
    services = [item for item in _list_services(document) if isinstance(item, dict)]
    dependencies = {_name_service(item): item.get("depends_on") for item in services}
    chosen: set[str] = set()
    wanted = list(names)
    for name in wanted:
        if name in names and name not in dependencies:
            nearest = find_nearest(name, dependencies)
            raise ManifestRefused(f"unknown service: {name}", f"did you mean {nearest}?" if nearest else None)
        if name not in chosen:
            chosen.add(name)
            listed = dependencies[name]
            # A worker may be depended on, too; it is none of the services.
            wanted += (
                [each for each in listed if isinstance(each, str) and each in dependencies]
                if isinstance(listed, list)
                else []
            )
    return _dump(document | {"services": [item for item in services if _name_service(item) in chosen]})


def add_services(body: bytes, services: Mapping[str, Service]) -> bytes:
    """Make the document that has these services behind its own, but for those that it names.

    If it names them all, its bytes are the same.
    """
    document = parse_body(body)
    own = _list_services(document)
    named = {_name_service(item) for item in own if isinstance(item, dict)}
    more = [service for name, service in services.items() if name not in named]
    return _dump(document | {"services": [*own, *more]}) if more else body


def _list_services(document: Mapping[str, Any]) -> list[Any]:
    found = document.get("services")
    return found if isinstance(found, list) else []


def _dump(document: Mapping[str, Any]) -> bytes:
    try:
        return dumps(document).encode()
    except UnicodeEncodeError:  # half a character can only be written as it was sent: escaped
        return json.dumps(document, separators=(",", ":")).encode()
