"""The auditor's verifier and the program, asked for the same files; and all that a file can suffer."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools import verify_log
from yoq_audit.export.verify import verify_export
from yoq_audit.proofs.consistency import check_command as check_consistency_command
from yoq_audit.proofs.entry_leaf import make_leaf, parse_document
from yoq_audit.retention.archive_reader import read_archive
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog import proof as proofs
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Verifier

Files = dict[str, bytes]
"""The files of a command, by name, in the order in which it takes them."""


def open_checkpoint(content: bytes, key: Verifier) -> Checkpoint:
    """A signed checkpoint, read with the program's parts."""
    opened = notes.verify(content, [key])
    found = checkpoints.parse(opened.text)
    if found.origin != key.name:
        raise LogError("another log's")
    return found


def check_checkpoint(files: Files, key: Verifier, _folder: Path) -> None:
    """What the program checks of a checkpoint."""
    open_checkpoint(files["checkpoint"], key)


def check_consistency(files: Files, key: Verifier, folder: Path) -> None:
    """What `audit check-consistency` does."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    words = [str(folder / "old"), str(folder / "new"), "--proof", str(folder / "proof"), "--key", key.vkey]
    done = CliRunner().invoke(check_consistency_command, words)
    if done.exit_code:
        assert done.stderr.startswith("not proved: "), done.output
        raise LogError(done.stderr)


def check_entry(files: Files, key: Verifier, _folder: Path) -> None:
    """What `audit check-proof` does."""
    proofs.check(files["proof"], make_leaf(parse_document(files["entry"])), [key])


def check_export(files: Files, key: Verifier, _folder: Path) -> None:
    """What `audit verify-export` does."""
    verify_export(io.BytesIO(files["export"]), [key])


def check_archive(files: Files, key: Verifier, folder: Path) -> None:
    """What `audit archive verify` does."""
    (folder / "archive").write_bytes(files["archive"])
    read_archive(folder / "archive", [key])


PROGRAM: dict[str, Callable[[Files, Verifier, Path], None]] = {
    "checkpoint": check_checkpoint,
    "consistency": check_consistency,
    "entry": check_entry,
    "export": check_export,
    "archive": check_archive,
}


@dataclass
class Judges:
    """The program and the tool, asked for the same files with the same key."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    said: str = ""
    """What the tool printed last."""

    def ask(self, what: str, files: Files, vkey: str) -> bool:
        """Whether both say that it holds; they must not differ."""
        try:
            PROGRAM[what](files, Verifier.from_vkey(vkey), self.folder)
            program = True
        except LogError:
            program = False
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        code = verify_log.main(["--key", vkey, what, *(str(self.folder / name) for name in files)])
        told = self.capture.readouterr()
        self.said = told.out + told.err
        assert (code, "NOT PROVED" in told.err) in ((0, False), (1, True)), told
        assert (code == 0) == program, (what, program, told)
        return program


def alter(content: bytes, step: int) -> Iterator[tuple[str, bytes]]:
    """Everything that a text can suffer: bytes, lines, their ends, the whole; each of `step` places is looked at."""
    yield from ((f"bit of byte {at}", flip(content, at, 1)) for at in range(0, len(content), step))
    yield from ((f"high bit of byte {at}", flip(content, at, 0x80)) for at in range(step // 2, len(content), step))
    yield from ((f"cut off at {at}", content[:at]) for at in range(0, len(content), step * 3))
    lines = content.splitlines(keepends=True)
    for at in range(0, len(lines), max(1, len(lines) // 30)):
        line = lines[at]
        before, after = b"".join(lines[:at]), b"".join(lines[at + 1 :])
        yield f"without line {at}", before + after
        yield f"line {at} twice", before + line + line + after
        yield (
            f"lines {at} and the next change places",
            b"".join([*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]]),
        )
        for name, changed in (
            ("another line end", line.removesuffix(b"\n") + b"\r\n"),
            ("a space at its end", line.removesuffix(b"\n") + b" \n"),
            ("a space before it", b" " + line),
            ("a NUL in it", b"\0" + line),
            ("an empty line before it", b"\n" + line),
            ("no padding", line.replace(b"=", b"", 1)),
            ("capitals", line.upper()),
            ("a zero before its numbers", line.replace(b"1", b"01", 1)),
        ):
            yield f"line {at}: {name}", before + changed + after
    for name, changed in (
        ("nothing", b""),
        ("twice", content + content),
        ("a line behind it", content + b"\n"),
        ("without its last line end", content.removesuffix(b"\n")),
        ("in another encoding", content.decode().encode("utf-16")),
        ("behind a byte order mark", b"\xef\xbb\xbf" + content),
        ("null", b"null"),
        ("brackets", b"[" * 100_000),
    ):
        yield name, changed


def flip(content: bytes, at: int, mask: int) -> bytes:
    """These bytes with one changed."""
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


def hold_against(judges: Judges, what: str, files: Files, vkey: str, step: int) -> set[str]:
    """Alter each file in turn; returns which alterations both accept."""
    assert judges.ask(what, files, vkey), judges.said
    accepted = set()
    for name, content in files.items():
        for alteration, altered in alter(content, step):
            if altered != content and judges.ask(what, files | {name: altered}, vkey):
                accepted.add(f"{name}: {alteration}")
    return accepted


def repack(content: bytes, altered: str, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> bytes:
    """An archive of which one file became these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in old:
            kept = old.extractfile(member)
            assert kept is not None
            data = kept.read()
            for name, found in change(member.name, data) if member.name == altered else [(member.name, data)]:
                written = tarfile.TarInfo(name)
                written.size = len(found)
                new.addfile(written, io.BytesIO(found))
    return packed.getvalue()
