"""The table of faults: each has a name of its own and stands on the page."""

from __future__ import annotations

import re

from faults.table import FAULTS
from tests.support.pages import page


def test_every_fault_is_on_the_page() -> None:
    """The page lists the faults that there are, in their order and with their words, and no other."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page("project/faults.md"), re.MULTILINE)
    assert rows == [(fault.name, fault.what) for fault in FAULTS]
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
