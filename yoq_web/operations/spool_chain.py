"""The spool's chain: each line is numbered and signed together with the code of the one before it.

The extent says, signed as well, how far the lines go. So a line that was altered, removed, added or moved is found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from yoq_web.jsontext import dumps
from yoq_web.operations.mac import MacKey

LINE, EXTENT = "spool line", "spool extent"
"""What is signed."""

MEMBERS = ("number", "after", "first", "mac")
"""What the chain adds to a line: its number, the code of the one before, whether all before are spent, its own code."""

EXTENT_BYTES = 256


class Finding(NamedTuple):
    """Something that nobody with the key did, and the line that it is about."""

    why: str
    line: bytes = b""


@dataclass(frozen=True, slots=True)
class Link:
    """A signed line, as it stands in the file. What is before the `first` one of a file that was made anew is spent."""

    number: int
    after: str
    first: bool
    mac: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the lines go: those up to the number `begins` are spent, the last is `ends` and has the code `mac`.

    The file has `size` bytes then; it may have more, if a process died before it wrote the extent.
    """

    begins: int = 0
    ends: int = 0
    mac: str = ""
    size: int = 0


@dataclass
class Examined:
    """What a file comes to: its lines, those that are spent, what a crash may have torn, and what somebody did."""

    lines: list[Link] = field(default_factory=list)
    spent: list[Link] = field(default_factory=list)
    torn: list[bytes] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    last: int = 0
    """The number of the last line that there is, or was according to the extent."""

    @property
    def clean(self) -> bool:
        """Whether the file holds nothing but its lines."""
        return not (self.spent or self.torn or self.findings)


def make_link(key: MacKey, line: dict[str, Any], number: int, after: str, *, first: bool = False) -> Link:
    """Sign a line."""
    plain = {name: value for name, value in line.items() if name not in MEMBERS}
    chained = plain | {"number": number, "after": after} | ({"first": True} if first else {})
    raw = key.sign(LINE, dumps(chained)).encode()
    return Link(number, after, first, raw[-34:-2].decode(), raw)


def read_link(key: MacKey, raw: bytes) -> Link | None:
    """Read a line; None if it was not signed with the key."""
    mac = key.verify(LINE, raw)
    if mac is None:
        return None
    line = json.loads(raw)
    return Link(line["number"], line["after"], line.get("first", False), mac, raw)


def encode_extent(key: MacKey, extent: Extent) -> bytes:
    """Return the extent as it is written, always of the same length."""
    document = {"begins": extent.begins, "ends": extent.ends, "last": extent.mac, "size": extent.size}
    return key.sign(EXTENT, dumps(document)).encode().ljust(EXTENT_BYTES - 1) + b"\n"


def read_extent(key: MacKey, raw: bytes) -> Extent | None:
    """Read the extent; None if it was not signed with the key."""
    signed = raw.rstrip()
    if key.verify(EXTENT, signed) is None:
        return None
    found = json.loads(signed)
    return Extent(found["begins"], found["ends"], found["last"], found["size"])


def examine(key: MacKey, content: bytes, extent: Extent | None) -> Examined:
    """Look at all lines of a file, and whether they are those that the extent speaks of."""
    found = Examined()
    claimed: set[int] = set()
    for raw in content.split(b"\n"):
        if not raw.strip():
            continue
        link = read_link(key, raw)
        if link is not None:
            found.lines.append(link)
        elif (line := read_object(raw)) is not None:
            found.findings.append(Finding("a line was altered or added", raw))
            claimed.update(number for number in (line.get("number"),) if isinstance(number, int))
        else:
            found.torn.append(raw)
    _put_in_order(found)
    begins = extent.begins if extent else found.lines[0].number - 1 if found.lines else 0
    found.spent = [link for link in found.lines if link.number <= begins]
    found.lines = found.lines[len(found.spent) :]
    _check_chain(found, begins, extent, claimed)
    return found


def read_object(raw: bytes) -> dict[str, Any] | None:
    """Read a line as a JSON object; None if it is none."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _put_in_order(found: Examined) -> None:
    once = list(dict.fromkeys(found.lines))
    if len(once) < len(found.lines):
        found.findings.append(Finding("lines were doubled"))
    found.lines = sorted(once, key=lambda link: link.number)
    if found.lines != once:
        found.findings.append(Finding("lines were put into another order"))


def _check_chain(found: Examined, begins: int, extent: Extent | None, claimed: set[int]) -> None:
    """Find what is missing between the lines and behind them, and what is not what a later line was signed after.

    A line that is there, altered, with the number that it `claimed` is not missing.
    """

    def look_for(numbers: range, where: str) -> None:
        if missing := len(numbers) - sum(number in numbers for number in claimed):
            found.findings.append(Finding(f"lines were removed{where}: {missing}"))

    last, kept = Link(begins, "", False, "", b""), list[Link]()
    for link in found.lines:
        # The extent may not say yet that the file was made anew.
        if link.number > last.number + 1 and (kept or not link.first):
            look_for(range(last.number + 1, link.number), "")
        elif kept and link.number == last.number:
            found.findings.append(Finding("two lines have one number", link.raw))
        elif kept and link.after != last.mac:
            found.findings.append(Finding("a line was exchanged", kept.pop().raw))
        kept.append(link)
        last = link
    if extent and last.number < extent.ends:
        look_for(range(last.number + 1, extent.ends + 1), " at the end")
    elif extent and kept and last.number == extent.ends and last.mac != extent.mac:
        found.findings.append(Finding("a line was exchanged", kept.pop().raw))
    found.lines = kept
    found.last = max(last.number, extent.ends if extent else 0)
