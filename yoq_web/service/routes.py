"""The server's own routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, render_template
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field

from yoq_web.http.endpoints import endpoint
from yoq_web.jsontext import dumps
from yoq_web.metrics import current_metrics
from yoq_web.service.gauges import read_gauges
from yoq_web.service.health import check_health
from yoq_web.service.openapi import current_api
from yoq_web.settings import VERSION

blueprint = Blueprint("service", __name__, template_folder="templates")


class Health(BaseModel):
    """How the server is: `ok`, `degraded` or `unavailable`, and why."""

    status: str
    database: str | None = Field(default=None, exclude_if=lambda value: value is None)
    lineages_behind: list[str] = []
    secrets_key: str | None = Field(default=None, exclude_if=lambda value: value is None)
    backups: str | None = Field(default=None, exclude_if=lambda value: value is None)
    drains_waiting: list[str] = Field(
        default=[], description="Agents that are drained for long, and nobody else can take what they run"
    )
    plugins_refused: list[str] = []
    plugins: dict[str, str] = {}
    spool: int = Field(default=0, description="How many records wait in the spool until they can be stored")
    spool_suspect: int = Field(default=0, description="How many edits of the spool by somebody else were found")
    spool_writable: bool = True


class Version(BaseModel):
    """The version of the software."""

    version: str


@blueprint.get("/health")
@endpoint(public=True, answer=Health, errors={503: Health})
def get_health() -> Response:
    """Say whether the server can do its work.

    `degraded` is answered with 200: it works, and names what an operator should look at. `unavailable` is a 503.
    """
    document, status = check_health()
    return Response(dumps(document), status, mimetype="application/json")


@blueprint.get("/version")
@endpoint(public=True, answer=Version)
def get_version() -> Version:
    """Say which version this is."""
    return Version(version=VERSION)


@blueprint.get("/metrics")
@endpoint(scope="status:read", answer=str, media_type="text/plain", at_once=True)
def get_metrics() -> Response:
    """Report what this process counted, and what is so right now, in Prometheus's text format."""
    return Response(generate_latest(_Collected()), content_type=CONTENT_TYPE_LATEST)


class _Collected(Collector):
    """What is counted, and behind it the gauges."""

    def collect(self) -> Iterable[Metric]:
        yield from current_metrics().registry.collect()
        yield from read_gauges()


@blueprint.get("/openapi.json")
@endpoint(public=True, answer=dict[str, Any])
def get_openapi() -> dict[str, Any]:
    """Describe this API, plugins' routes included, as OpenAPI 3.1."""
    return current_api()


@blueprint.get("/docs")
@endpoint(public=True, answer=str, media_type="text/html; charset=utf-8")
def get_docs() -> str:
    """Show the description of the API for people."""
    return render_template("docs.html", api=current_api())


@blueprint.get("/")
@endpoint(public=True, hidden=True, answer=str, media_type="text/html; charset=utf-8")
def get_start() -> Response:
    """Lead a browser to the description of the API."""
    return Response(status=302, headers={"Location": "docs"})  # relative: a proxy may have taken a prefix away


@blueprint.get("/favicon.ico")
@endpoint(public=True, hidden=True, answer=bytes, media_type="image/x-icon")
def get_icon() -> Response:
    """Answer every browser's first question with nothing: it is no failed authentication."""
    return Response(status=204)
