"""Service: the server's own routes: health, version, metrics, and the description of the API."""

from __future__ import annotations

from yoq_web.contributions.contribution import Contribution
from yoq_web.operations.operation import ACCESS_DENIED
from yoq_web.service import routes
from yoq_web.service.gauges import GAUGES


def contribute() -> Contribution:
    """Return what this domain adds to the application."""
    return Contribution(operations=(ACCESS_DENIED,), blueprints=(routes.blueprint,), gauges=GAUGES)
