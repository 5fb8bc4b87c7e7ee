"""The archive: a tar file of the database, the keys if wanted, the manifest and the checksums of them all.

Written in one form only and read strictly, so that a byte changed anywhere is noticed, in a plain backup as well.
`tar x` and `sha256sum --check SHA256SUMS` open and check it without yoq-web.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from yoq_web.backup.age import ByteReader
from yoq_web.backup.manifest import BackupManifest

DATABASES = {"sqlite": "yoq.db", "postgresql": "yoq.pgdump"}
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
KEYS = "keys/"

BLOCK = 512
PIECE = 1024 * 1024
SMALL = 1024 * 1024
"""No member but the database is larger."""
END = bytes(2 * BLOCK)

BytesCallback = Callable[[int], object]
"""Told how many further bytes are done."""


class NotABackup(Exception):
    """The stream is not a whole and undamaged backup; the text says why."""


def build_archive(
    database: Path, keys: dict[str, bytes], manifest: BackupManifest, progress: BytesCallback, digests: list[str]
) -> Iterator[bytes]:
    """Yield the bytes of an archive. The database's SHA-256, once known, goes into the manifest and `digests`."""
    sums: dict[str, str] = {}
    digest = hashlib.sha256()
    name, size = DATABASES[manifest.database], manifest.size
    yield _make_head(name, size)
    with database.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            yield piece
            progress(len(piece))
    yield _make_padding(size)
    sums[name] = digest.hexdigest()
    digests.append(sums[name])
    manifest = manifest.model_copy(update={"sha256": sums[name]})
    small = {KEYS + key: content for key, content in keys.items()}
    small[MANIFEST] = manifest.model_dump_json(indent=2).encode() + b"\n"
    for member, content in small.items():
        sums[member] = hashlib.sha256(content).hexdigest()
        yield _make_head(member, len(content)) + content + _make_padding(len(content))
    listed = _format_sums(sums)
    yield _make_head(SUMS, len(listed)) + listed + _make_padding(len(listed)) + END


class Stream:
    """Reads pieces as if they were a file."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._held = b""
        self._at = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes, as many as asked for unless it is the end."""
        parts: list[bytes] = []
        while size > 0:
            while self._at >= len(self._held) and not self._ended:
                following = next(self._source, None)
                self._held, self._at, self._ended = following or b"", 0, following is None
            if self._ended:
                break
            part = self._held[self._at : self._at + size]
            parts.append(part)
            self._at += len(part)
            size -= len(part)
        return b"".join(parts)


@dataclass(frozen=True)
class ArchiveContent:
    """What was in an archive: the database, by now a file, the manifest, and the keys by their names."""

    database: Path
    manifest: BackupManifest
    keys: dict[str, bytes]


def unpack(source: ByteReader, folder: Path, progress: BytesCallback) -> ArchiveContent:
    """Read an archive to its end and put its database into `folder`. Raises NotABackup unless all of it fits."""
    name, size = _read_head(source)
    if name not in DATABASES.values():
        raise NotABackup("it does not begin with a database")
    database, sums = folder / name, {name: _store(source, folder / name, size, progress)}
    small: dict[str, bytes] = {}
    while SUMS not in small:
        member, size = _read_head(source)
        if size > SMALL or member in small or member == name:
            raise NotABackup("a member of it has no place there")
        small[member] = _read_exactly(source, size)
        _check_padding(source, size)
        sums[member] = hashlib.sha256(small[member]).hexdigest()
    del sums[SUMS]
    if small.pop(SUMS) != _format_sums(sums) or _read_exactly(source, len(END)) != END or source.read(1):
        raise NotABackup("its checksums do not fit")
    manifest = _parse_manifest(small.pop(MANIFEST, b""))
    if (DATABASES[manifest.database], manifest.sha256) != (name, sums[name]):
        raise NotABackup("its manifest is about another database")
    keys = {member.removeprefix(KEYS): content for member, content in small.items()}
    if list(small) != [KEYS + key for key in manifest.keys]:
        raise NotABackup("its keys are not those that its manifest names")
    return ArchiveContent(database, manifest, keys)


def _store(source: ByteReader, path: Path, size: int, progress: BytesCallback) -> str:
    digest, left = hashlib.sha256(), size
    with path.open("xb") as file:
        while left:
            piece = _read_exactly(source, min(left, PIECE))
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
            progress(len(piece))
    _check_padding(source, size)
    return digest.hexdigest()


def _parse_manifest(content: bytes) -> BackupManifest:
    try:
        return BackupManifest.model_validate_json(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise NotABackup(f"its manifest cannot be read{where and f': {where}'}") from None


def _format_sums(sums: dict[str, str]) -> bytes:
    return "".join(f"{digest}  {member}\n" for member, digest in sums.items()).encode()


def _make_head(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def _read_head(source: ByteReader) -> tuple[str, int]:
    head = _read_exactly(source, BLOCK)
    try:
        member = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
        name, size = member.name, member.size
        same = size >= 0 and _make_head(name, size) == head
    except (tarfile.HeaderError, ValueError):
        same = False
    if not same:
        raise NotABackup("one of its heads is damaged")
    return name, size


def _make_padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _check_padding(source: ByteReader, size: int) -> None:
    if _read_exactly(source, -size % BLOCK) != _make_padding(size):
        raise NotABackup("it is damaged between its members")


def _read_exactly(source: ByteReader, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise NotABackup("it is cut off")
    return data
