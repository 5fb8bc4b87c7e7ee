"""The programs of other people that deploy/ speaks to; where one is not installed, the test says so and is skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


def find_program(name: str) -> str:
    """Find a program on the path, or among the administrator's; skips the test if it is not there."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
