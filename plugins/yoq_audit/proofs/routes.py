"""The HTTP API of the provable log: checkpoint, tiles, entry bundles (C2SP tlog-tiles), key and proofs."""

from __future__ import annotations

import gzip
from typing import Annotated, Any

from flask import Blueprint, Response, request
from pydantic import BaseModel, BeforeValidator, Field

from yoq_audit.proofs import prover
from yoq_audit.tlog.codec import encode_base64, parse_decimal
from yoq_audit.tlog.errors import PathError
from yoq_audit.tlog.tiles import Bundle, Tile
from yoq_web import NotFound, db, endpoint

blueprint = Blueprint("audit_log", __name__)

TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"

FRESH = "private, max-age=1"
FOR_EVER = "private, max-age=31536000, immutable"
"""Whatever is at the path of a tile, full or partial, is there for ever. Private: the log is behind a scope."""

NEVER = "no-store"
"""An entry may be erased, and then no copy is to be left."""

UNPROVABLE = "Nothing can be proved now: `error` and `detail` say why"
PRUNED = "The bundle was pruned, or holds an entry that was erased"
TOO_LARGE = "The log does not have so many entries"

MAX_STORED = 2**63 - 1


def _parse_size(given: object) -> object:
    """Read a size in its one spelling: decimal, without sign, spaces or leading zeros."""
    return parse_decimal(given) if isinstance(given, str) else given


Size = Annotated[int, Field(ge=0, le=MAX_STORED), BeforeValidator(_parse_size)]


class Sizes(BaseModel):
    """Between which sizes of the log."""

    old: Size = Field(alias="from", description="The smaller size")
    new: Size | None = Field(None, alias="to", description="The larger size; the newest signed one unless given")


class Least(BaseModel):
    """Which checkpoint."""

    size: Size | None = Field(
        None, description="The first that was signed with at least so many entries; else the newest"
    )


class Consistency(BaseModel):
    """That the log of size `from` is the beginning of the log of size `to`: the hashes of RFC 9162 in base64."""

    old: int = Field(serialization_alias="from")
    new: int = Field(serialization_alias="to")
    hashes: list[str]


@blueprint.get("/v1/audit/log/checkpoint")
@endpoint(scope="audit:read", query=Least, answer=str, media_type=TEXT, errors={404: TOO_LARGE, 503: UNPROVABLE})
def get_checkpoint(query: Least) -> Response:
    """Give a signed checkpoint, the newest unless told.

    Everything committed before is sealed first. It is a signed note: the log's name, its size and its root.
    """
    found = prover.seal_now() if query.size is None else prover.find_checkpoint(query.size)
    return _make_answer(found.note, TEXT, FRESH)


@blueprint.get("/v1/audit/log/key")
@endpoint(scope="audit:read", answer=str, media_type=TEXT, errors={503: UNPROVABLE})
def get_key() -> Response:
    """Give the public keys that checkpoints are signed with, one on a line, the newest last.

    Ask once, keep it, and compare it with what the operator says: who checks a log with a key that he has just got
    from it checks little.
    """
    return _make_answer("".join(f"{vkey}\n" for vkey in prover.list_keys(db.session())), TEXT, FRESH)


@blueprint.get("/v1/audit/log/key/announcements")
@endpoint(scope="audit:read", answer=list[str], errors={503: UNPROVABLE})
def get_announcements() -> list[str]:
    """Give the announcement of each key but the first, the newest last.

    Both keys signed it, the new one and the one before: who knows one of the log's keys finds the newest.
    """
    return prover.list_announcements(db.session())


@blueprint.get("/v1/audit/log/tile/<level>/<path:place>")
@endpoint(scope="audit:read", answer=bytes, media_type=BYTES, errors={503: UNPROVABLE})
def get_tile(level: str, place: str) -> Response:
    """Give a tile: up to 256 hashes of one level of the tree.

    Level and place are written as in C2SP tlog-tiles, such as `0/x001/234` and `0/005.p/17`.
    """
    try:
        tile = Tile.parse(f"tile/{level}/{place}")
    except PathError as error:
        raise NotFound("not found", str(error)) from None
    return _make_answer(prover.read_signed_tile(tile), BYTES, FOR_EVER)


@blueprint.get("/v1/audit/log/tile/entries/<path:place>")
@endpoint(scope="audit:read", answer=bytes, media_type=BYTES, errors={410: PRUNED, 503: UNPROVABLE})
def get_bundle(place: str) -> Response:
    """Give the leaves below a tile of level 0, each behind its length as a big-endian 16-bit number.

    A leaf is the entry as JSON; its hash is SHA-256 of a zero byte and the leaf. Compressed for who accepts gzip.
    """
    try:
        bundle = Bundle.parse(f"tile/entries/{place}")
    except PathError as error:
        raise NotFound("not found", str(error)) from None
    content = prover.read_signed_bundle(bundle)
    compressed = request.accept_encodings.quality("gzip") > 0
    answer = _make_answer(gzip.compress(content, compresslevel=6, mtime=0) if compressed else content, BYTES, NEVER)
    answer.vary.add("Accept-Encoding")
    if compressed:
        answer.content_encoding = "gzip"
    return answer


@blueprint.get("/v1/audit/entries/<event_id>/proof")
@endpoint(scope="audit:read", answer=str, media_type=TEXT, errors={503: UNPROVABLE})
def get_proof(event_id: str) -> Response:
    """Prove that an entry is in the log, by the Audit-Id that its response carried.

    The proof (C2SP tlog-proof) is checked offline, with the entry and the log's key: `yoq-web audit check-proof`.
    """
    proof, _ = prover.prove_entry(event_id)
    return _make_answer(proof.format(), TEXT, FRESH)


@blueprint.get("/v1/audit/log/consistency")
@endpoint(scope="audit:read", query=Sizes, answer=Consistency, errors={503: UNPROVABLE})
def get_consistency(query: Sizes) -> dict[str, Any]:
    """Prove that the log only grew between two sizes.

    From size 0, and between equal sizes, the proof is empty (RFC 9162).
    """
    new, hashes = prover.prove_growth(query.old, query.new)
    return {"from": query.old, "to": new, "hashes": [encode_base64(node) for node in hashes]}


def _make_answer(content: str | bytes, media_type: str, caching: str) -> Response:
    return Response(content, content_type=media_type, headers={"Cache-Control": caching})
