"""The lines of the spool: written signed and in a chain, read with what was done to them by others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.operations import spool_chain
from yoq_web.operations.mac import KEY_FILE, MacKey
from yoq_web.operations.spool_chain import (
    Examined,
    Extent,
    Finding,
    Link,
    encode_extent,
    make_link,
    read_extent,
    read_object,
)
from yoq_web.operations.spool_file import FILE, LOCK, SPARE, SpoolFile
from yoq_web.settings import SettingsError

log = get_logger("yoq_web")


class SpoolLines:
    """The lines of one data directory's spool. Those of an earlier version, without a chain, are taken once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = SpoolFile(folder)
        self._key: MacKey | None = None
        self._extent: Extent | None = None
        """How far the lines went when this process last looked, which nobody can put back."""
        self.findings: list[Finding] = []
        """What was found while a line was written, for whoever reports it."""

    def open(self) -> None:
        """Open the files and set room aside. Raises OSError."""
        with self._lock():
            self._file.set_room_aside(2 * SPARE)

    def load_key(self) -> MacKey:
        """Return the key of the directory, which is made if there is none. Raises OSError."""
        self._key = self._key or self._read_key()
        if self._key is not None:
            return self._key
        with self._lock() as key:
            return key

    def close(self) -> None:
        """Let go of the files; whatever is done next opens them again."""
        self._file.close()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do; costs a look at the file's size and one at the extent."""
        if self._file.size or self.findings:
            return False
        note = self._file.read_note()
        try:
            key = self._key or self._read_key()
        except OSError:
            return False
        if key is None:
            return not note
        extent = read_extent(key, note)
        return extent is not None and extent.begins == extent.ends and extent.ends >= (self._extent or extent).ends

    def peek(self) -> list[bytes]:
        """Read the lines that are genuine and not spent, without the lock, and without changing anything."""
        with suppress(OSError):
            key = self._key or self._read_key()
            content = self._file.read()
            if key is None:
                return content.split(b"\n")
            extent = read_extent(key, self._file.read_note()) or self._extent
            return [link.raw for link in spool_chain.examine(key, content, extent).lines]
        return []

    def append(self, lines: Sequence[dict[str, Any]], *, spare: int) -> None:
        """Have lines on disk, with so many bytes of room behind them. Raises OSError, with the file as it was."""
        with self._lock() as key:
            extent = self._find_end(key, self._read_extent(key))
            links = _chain(key, lines, extent)
            self._file.append(_join(links), spare=spare)
            # Without it they are on disk all the same: whoever looks next finds them behind the old extent.
            with suppress(OSError):
                self._keep_extent(key, replace(extent, ends=links[-1].number, mac=links[-1].mac))

    def examine(self) -> Examined:
        """Look at all that the file holds. Raises OSError."""
        with self._lock() as key:
            return self._examine(key, self._read_extent(key))

    def rewrite(self, lines: Sequence[dict[str, Any]], seen: Examined) -> bool:
        """Put these in the place of the lines that were seen; what came meanwhile stays behind them. Raises OSError.

        Returns False, with the file as it is, if there is by now what has to be set aside first.
        """
        with self._lock() as key:
            extent = self._read_extent(key)
            now = self._examine(key, extent)
            if set(now.findings) - set(seen.findings) or set(now.torn) - set(seen.torn):
                self.findings += now.findings
                return False
            extent = self._find_end(key, extent)
            later = [json.loads(link.raw) for link in now.lines if link.number > seen.last]
            links = _chain(key, [*lines, *later], extent, anew=True)
            if links:
                self._file.replace(_join(links))
                self._keep_extent(key, Extent(extent.ends, links[-1].number, links[-1].mac))
            else:
                # The extent first: a file that is empty before it says so has lost its lines.
                self._keep_extent(key, replace(extent, begins=extent.ends), size=0)
                self._file.replace(b"")
        return True

    @contextmanager
    def _lock(self) -> Iterator[MacKey]:
        with self._file.lock():
            if self._key is None:
                self._key = self._read_key() or self._make_key()
            elif not (self._folder / KEY_FILE).exists():
                self.findings.append(Finding(f"{KEY_FILE} was removed"))
                self._key.store(self._folder)
            yield self._key

    def _read_key(self) -> MacKey | None:
        try:
            return MacKey.read(self._folder)
        except SettingsError as error:
            raise OSError(str(error)) from error

    def _make_key(self) -> MacKey:
        """Make the key of a directory that has none, and take what an earlier version left.

        The key's file comes last: whatever a crash leaves before is taken in the same way again.
        """
        key = MacKey.generate()
        fresh = _is_fresh(self._file.read_note())
        if not (fresh and files.is_ours(self._folder / FILE)):
            self.findings.append(Finding(f"{FILE} belongs to another user" if fresh else f"{KEY_FILE} was removed"))
            key.store(self._folder)
            return key
        self._file.write_note(encode_extent(key, Extent()))
        taken = Extent()
        pieces: list[bytes] = []
        for raw in self._file.read().splitlines():
            line = read_object(raw)
            if line is None:
                pieces.append(raw)  # which was torn
                continue
            [link] = _chain(key, [line], taken, anew=taken.ends == 0)
            taken = Extent(ends=link.number, mac=link.mac)
            pieces.append(link.raw)
        if pieces:
            log.warning("the spool of an earlier version is taken as it is", lines=taken.ends)
            self._file.replace(b"".join(piece + b"\n" for piece in pieces))
        key.sign_earlier(self._folder)
        key.store(self._folder)
        return key

    def _examine(self, key: MacKey, extent: Extent | None) -> Examined:
        found = spool_chain.examine(key, self._file.read(), extent)
        found.findings = list(dict.fromkeys(self.findings + found.findings))
        self.findings.clear()
        return found

    def _find_end(self, key: MacKey, extent: Extent | None) -> Extent:
        """Find the line behind which the next one is written: the extent's, or one that a crash left behind that."""
        if extent is not None and extent.size == self._file.size:
            return extent
        found = spool_chain.examine(key, self._file.read(), extent)
        links = [*found.spent, *found.lines]
        if extent is None:
            begins = links[0].number - 1 if links else 0
            extent = Extent(begins, begins)
        if links and links[-1].number > extent.ends:
            return replace(extent, ends=links[-1].number, mac=links[-1].mac)
        return extent

    def _read_extent(self, key: MacKey) -> Extent | None:
        found = read_extent(key, self._file.read_note())
        if found is None:
            self.findings.append(Finding(f"{LOCK} does not say how far the lines go"))
            return self._extent
        if self._extent is not None and found.ends < self._extent.ends:
            self.findings.append(Finding(f"{LOCK} was put back to an earlier state"))
            return self._extent
        self._extent = found
        return found

    def _keep_extent(self, key: MacKey, extent: Extent, size: int | None = None) -> None:
        extent = replace(extent, size=self._file.size if size is None else size)
        self._file.write_note(encode_extent(key, extent))
        self._extent = extent


def _chain(key: MacKey, lines: Sequence[dict[str, Any]], behind: Extent, *, anew: bool = False) -> list[Link]:
    """Sign lines that come behind others, in the same file or in one that is made anew."""
    links: list[Link] = []
    number, after = behind.ends, behind.mac
    for line in lines:
        number += 1
        links.append(make_link(key, line, number, after, first=anew and not links))
        after = links[-1].mac
    return links


def _join(links: Sequence[Link]) -> bytes:
    return b"".join(link.raw + b"\n" for link in links)


def _is_fresh(note: bytes) -> bool:
    """Tell whether an extent, signed with a key that is not there, is none or speaks of no lines yet."""
    return not (read_object(note) or {}).get("ends")
