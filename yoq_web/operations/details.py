"""Details: what an entry keeps of texts and lists, however long and of whatever characters; what is cut is marked.

A text that is cut ends with `…`, and a list with the item `…`. As anybody can write that, the detail `cut` says of each
how long it was: it is nobody's to give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

Detail = str | int | bool | Sequence[str] | None

TARGET_BYTES = 256
"""Longer targets are cut in the trail (yoq's limit)."""
DETAIL_BYTES = 1024
"""Longer texts among the details are cut, so that an entry stays small whatever a caller sends."""
NAME_BYTES = 64
"""Longer names of details are cut; only an authenticator's can be."""
MOST_DETAILS = 32
"""Of an actor's details no more are kept."""
DETAILS_BYTES = 8 * 1024
"""And no more than fit into so many bytes, names and values together."""
MOST_ITEMS = 64
"""Of a list among the details no more items are kept."""
LARGEST = 2**63
"""Integers that are not smaller, and may have thousands of digits, are kept as their number of bits."""

MARK = "…"
"""The end of what was cut."""
CUT = "cut"
"""The detail that says what was cut: `target: 300 bytes`, `moved: 80 items`."""
LEFT_OUT = "left_out"
"""The detail that says how many of an actor's are not kept."""
LATE = "stored_at"
"""The detail that says of an event that was stored only after its deed when that was, in seconds since 1970."""
MARKS = frozenset({CUT, LEFT_OUT, LATE})
"""Details that are nobody's to give."""


def clean_text(text: str, limit: int, name: str, cut: list[str]) -> str:
    """Make `text` one that both databases can store: valid UTF-8 without NUL, at most `limit` bytes.

    If it is longer it is marked, and `cut` gets a line about what is named so.
    """
    encoded = text[: limit + 1].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    cut.append(f"{name}: {len(text.encode(errors='replace'))} bytes")
    return encoded[: limit - len(MARK.encode())].decode(errors="ignore") + MARK


def clean_detail(value: Any, name: str, cut: list[str]) -> Detail:
    """Cut a detail to what the trail keeps: short, and of a type that JSON has."""
    if isinstance(value, int):
        return value if -LARGEST <= value < LARGEST else f"a number of {value.bit_length()} bits"
    if value is None:
        return value
    if isinstance(value, list | tuple):
        return _clean_list(value, name, cut)
    return clean_text(str(value), DETAIL_BYTES, name, cut)


def _clean_list(values: Sequence[Any], name: str, cut: list[str]) -> tuple[str, ...]:
    inside: list[str] = []
    kept = tuple(_clean_item(item, inside) for item in values[:MOST_ITEMS])
    if len(values) > MOST_ITEMS or inside:
        cut.append(f"{name}: {len(values)} items" + (f", {len(inside)} of them cut" if inside else ""))
    return (*kept, MARK) if len(values) > MOST_ITEMS else kept


def _clean_item(item: Any, cut: list[str]) -> str:
    # A number may have more digits than Python will write.
    text = str(clean_detail(item, "", cut)) if isinstance(item, int) else str(item)
    return clean_text(text, DETAIL_BYTES, "", cut)


def clean_details(given: Mapping[str, Any], cut: list[str]) -> dict[str, Detail]:
    """Cut an actor's details to what an entry keeps of them; `left_out` says how many it does not."""
    kept: dict[str, Detail] = {}
    room = DETAILS_BYTES
    for given_name, value in islice(given.items(), MOST_DETAILS):
        inside: list[str] = []
        name = clean_text(given_name, NAME_BYTES, f"the name of {given_name[: NAME_BYTES // 4]}{MARK}", inside)
        detail = clean_detail(value, name, inside)
        texts = (name, *detail) if isinstance(detail, tuple) else (name, str(detail))
        size = sum(len(text.encode(errors="replace")) + 1 for text in (*texts, *inside))
        if size <= room and name not in MARKS and name not in kept:
            room -= size
            kept[name] = detail
            cut += inside
    if len(kept) < len(given):
        kept[LEFT_OUT] = len(given) - len(kept)
    return kept


def note_cut(details: Mapping[str, Detail], cut: Collection[str], of: Collection[str] = ()) -> dict[str, Detail]:
    """Return the details with these lines added to what `cut` says, whose lines about the details `of` are dropped."""
    before = details.get(CUT)
    valid = [line for line in before if line.partition(":")[0] not in of] if isinstance(before, tuple) else []
    kept = {name: value for name, value in details.items() if name != CUT}
    return kept | {CUT: (*valid, *cut)} if valid or cut else kept
