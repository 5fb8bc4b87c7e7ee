"""`yoq-web audit check-consistency`: that two kept checkpoints are of one log, which only grew between them."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import click

from yoq_audit.proofs.key_option import add_key_option
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.codec import decode_base64
from yoq_audit.tlog.errors import LogError, NoteError, ProofError
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tree import verify_consistency
from yoq_web import Failure, as_json, command, escape_text, print_json

ANSWER_SECONDS = 30
MOST_BYTES = 1024 * 1024
"""No checkpoint and no proof is as long."""


@command("check-consistency", offline=True)
@click.argument("old", type=click.File("rb"))
@click.argument("new", type=click.File("rb"))
@add_key_option
@click.option("--proof", type=click.File("rb"), help="The proof, as GET /v1/audit/log/consistency answered it.")
@click.option("--server", metavar="URL", help="Ask this server for the proof, with the token in YOQ_API_TOKEN.")
@as_json
def check_command(
    *,
    old: BinaryIO,
    new: BinaryIO,
    vkeys: tuple[str, ...],
    proof: BinaryIO | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Check that the log only grew between two checkpoints that were kept as files, OLD and NEW.

    Nothing else is needed but the proof, a file or a server's answer; between equal sizes there is none.
    """
    try:
        verifiers = [Verifier.from_vkey(vkey) for vkey in vkeys]
        before, after = (_read_checkpoint(file, verifiers) for file in (old, new))
        _check_growth(before, after, proof, server)
    except LogError as error:
        raise Failure(f"not proved: {escape_text(str(error))}") from None
    if as_json:
        print_json({"proved": True, "origin": after.origin, "from": before.size, "to": after.size})
    else:
        origin = escape_text(after.origin)
        click.echo(f"proved: the log of {before.size} is the beginning of that of {after.size}; {origin} signed both")


def _read_checkpoint(file: BinaryIO, verifiers: Sequence[Verifier]) -> Checkpoint:
    try:
        opened = notes.verify(file.read(MOST_BYTES), verifiers)
        head = checkpoints.parse(opened.text)
    except LogError as error:
        raise ProofError(f"{file.name}: {error}") from error
    if head.origin not in {verifier.name for verifier in opened.verified}:
        raise NoteError(f"{file.name}: no known key of the log {head.origin!r} signed its checkpoint")
    return head


def _check_growth(old: Checkpoint, new: Checkpoint, proof: BinaryIO | None, server: str | None) -> None:
    if old.origin != new.origin:
        raise ProofError(f"the checkpoints are of two logs, {old.origin!r} and {new.origin!r}")
    if old.size > new.size:
        raise ProofError(f"the first checkpoint is the newer one, of {old.size} entries: give the older one first")
    if proof is None and server is None and old.size not in (0, new.size):
        raise Failure(f"between {old.size} and {new.size} a proof is needed: give it by --proof FILE or --server URL")
    path: list[bytes] = []
    if old.size not in (0, new.size):
        answered = proof.read(MOST_BYTES) if proof is not None else _fetch_proof(str(server), old.size, new.size)
        path = _read_path(answered, old.size, new.size)
    verify_consistency(old.size, new.size, old.root, new.root, path)


def _read_path(content: bytes, old: int, new: int) -> list[bytes]:
    try:
        found: dict[str, Any] = json.loads(content)
        sizes, hashes = (found["from"], found["to"]), [decode_base64(node) for node in found["hashes"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ProofError("the proof is not what GET /v1/audit/log/consistency answers") from None
    if sizes != (old, new):
        raise ProofError(f"the proof is between other sizes than {old} and {new}")
    return hashes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for the server that was named."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Return nothing, so that the redirect is an error."""


def _fetch_proof(server: str, old: int, new: int) -> bytes:
    """Ask a server for the proof. Raises a Failure that says why there is none."""
    shown = escape_text(server)
    if not server.startswith(("http://", "https://")):
        raise Failure(f"--server is an address as http://127.0.0.1:7700, not {shown}")
    token = os.environ.get("YOQ_API_TOKEN", "")
    if not token:
        raise Failure("YOQ_API_TOKEN is not set: put a token with the scope audit:read there")
    address = f"{server.rstrip('/')}/v1/audit/log/consistency?from={old}&to={new}"
    try:
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - checked above
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            content: bytes = answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        raise Failure(f"{shown} answered {error.code}{_read_problem(error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Failure(f"{shown} cannot be asked: {escape_text(str(reason))}") from None
    return content


def _read_problem(error: urllib.error.HTTPError) -> str:
    with suppress(ValueError, TypeError, AttributeError, OSError):
        found = json.loads(error.read(MOST_BYTES))
        return ": " + escape_text(": ".join(str(found[name]) for name in ("error", "detail") if found.get(name)))
    return ""
