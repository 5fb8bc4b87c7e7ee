"""What the tests of apps share."""

from __future__ import annotations

import pytest

from tests.apps.kit import Shop
from tests.conftest import MakeApp


@pytest.fixture
def shop(make_app: MakeApp) -> Shop:
    """A cluster."""
    return Shop(make_app)
