"""Names of things: which can be stored, which is meant by one that is not known; types that the domains share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_NAME = 256
"""Bytes of UTF-8 in the name of anything."""


def check_storable(text: str) -> str:
    """Return `text` if both databases can store it and it is short enough; raises ValueError otherwise."""
    if "\0" in text:
        raise ValueError("a NUL character is not allowed")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("not valid UTF-8") from None
    if size > MAX_NAME:
        raise ValueError(f"longer than {MAX_NAME} bytes")
    return text


def is_storable(text: str, limit: int | None = None) -> bool:
    """Tell whether both databases can store `text`, and whether it is no longer than so many bytes of UTF-8."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return "\0" not in text and (limit is None or size <= limit)


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that somebody most likely meant by another one; None if none is like it."""
    plain = {_simplify(each): each for each in known}
    found = difflib.get_close_matches(_simplify(name[:MAX_NAME]), plain, n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def _simplify(name: str) -> str:
    return name.casefold().replace("-", "_")


def is_plain_text(text: str) -> bool:
    """Tell whether yoq takes `text` for an address, a key or an image.

    It has 1 to 256 bytes, and no quote, semicolon, backslash or control character among them.
    """
    harmless = all(character >= " " and character not in "'\";\\" for character in text)
    return harmless and text != "" and is_storable(text, MAX_NAME)


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        description=f"At most {MAX_NAME} bytes of UTF-8",
        json_schema_extra={"pattern": "^[^\\u0000]*$"},
    ),
    AfterValidator(check_storable),
]
"""The name of a thing: not empty, at most 256 bytes, without NUL."""


def _check_addressable(text: str) -> str:
    if text in (".", ".."):
        raise ValueError("clients take it for a step in a path")
    return text


NewName = Annotated[Name, AfterValidator(_check_addressable)]
"""The name of a thing that is made: one by which a route can be asked for it."""
