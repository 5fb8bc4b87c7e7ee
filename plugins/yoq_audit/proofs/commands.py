"""The commands of proofs: write one, check one offline."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from yoq_audit.proofs import prover
from yoq_audit.proofs.entry_leaf import UNPROVED, drop_unproved, make_leaf, parse_document
from yoq_audit.proofs.key_option import add_key_option
from yoq_audit.storage.documents import make_documents
from yoq_audit.tlog import proof as proofs
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Verifier
from yoq_web import (
    Failure,
    allow_writing,
    as_json,
    command,
    dumps,
    escape_text,
    format_local,
    named,
    open_output,
    overwrite_option,
    print_json,
)

TOLD = ("event_id", "time", "actor", "action", "target", "outcome")
"""What is told of an entry that was proved."""


@command("prove")
@named("entry")
@click.option("-o", "output", type=click.Path(), required=True, help="Where to write it; - is standard output.")
@click.option("--entry", "document", type=click.Path(), help="Where to write the entry as the proof covers it.")
@overwrite_option
def prove_command(entry: str, output: str, document: str | None, overwrite: bool) -> None:
    """Write the proof that ENTRY, an event's id, is in the log."""
    paths = [path for path in (output, document) if path is not None]
    allowed = [allow_writing(Path(path), overwrite=overwrite) for path in paths]
    proof, row = prover.prove_entry(entry)
    contents = (proof.format(), f"{dumps(drop_unproved(make_documents([row])[0]))}\n")
    for path, replace, content in zip(paths, allowed, contents, strict=False):
        with open_output(path, replace=replace) as file:
            file.write(content.encode())


@command("check-proof", offline=True)
@click.argument("proof", type=click.File("rb"), metavar="FILE")
@click.option("--entry", type=click.File("rb"), required=True, help="The entry, as the API or `audit prove` gave it.")
@add_key_option
@as_json
def check_command(proof: BinaryIO, entry: BinaryIO, vkeys: tuple[str, ...], as_json: bool) -> None:
    """Check offline that an entry is in the log: with the proof in FILE and the log's key, and nothing else."""
    try:
        verifiers = [Verifier.from_vkey(vkey) for vkey in vkeys]
        document = parse_document(entry.read())
        content = proof.read()
        head = proofs.check(content, make_leaf(document), verifiers)
        index = proofs.parse(content).index
    except LogError as error:
        raise Failure(f"not proved: {escape_text(str(error))}") from None
    further = [member for member in UNPROVED if member in document]
    proved = {name: document[name] for name in TOLD}
    if as_json:
        where = {"index": index, "size": head.size, "origin": head.origin}
        print_json({"proved": True, **where, "entry": proved, "uncovered": further})
        return
    name = escape_text(document["event_id"])
    click.echo(f"proved: {name} is entry {index} of the {head.size} that {escape_text(head.origin)} signed")
    proved["time"] = format_local(proved["time"])
    click.echo(" ".join(f"{member} {escape_text(str(proved[member] or '-'))}" for member in TOLD[1:]))
    if further:
        click.echo(f"not covered by the proof: {', '.join(further)}")
