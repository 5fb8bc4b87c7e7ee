"""How long entries are kept, as operators write it."""

from __future__ import annotations

import re

UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


def seconds_of(text: str) -> int:
    """Seconds in a retention like `400d`; raises ValueError for any other text.

    The least is an hour: of younger entries a spool may still be handing over a second copy.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,5})([hdw])", text, re.ASCII)
    if found is None:
        raise ValueError("how long entries are kept is a number and h, d or w, like 400d")
    return int(found[1]) * UNITS[found[2]]
