"""What the tests of tools share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.judges import Judges


@pytest.fixture
def judges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judges:
    """Both, in a folder of their own."""
    (tmp_path / "judged").mkdir()
    return Judges(tmp_path / "judged", capsys)
