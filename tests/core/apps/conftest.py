"""What the tests of apps share."""

from __future__ import annotations

import pytest

from tests.conftest import MakeApp
from tests.support.apps import Shop


@pytest.fixture
def shop(make_app: MakeApp) -> Shop:
    """A cluster."""
    return Shop(make_app)
