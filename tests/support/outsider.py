"""An auditor's client of the log: written from the public specifications, knowing the HTTP API and nothing of ours."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def hash_node(left: bytes, right: bytes) -> bytes:
    """A node over two children."""
    return sha256(b"\x01" + left + right).digest()


def hash_leaf(data: bytes) -> bytes:
    """The hash of an entry."""
    return sha256(b"\x00" + data).digest()


@dataclass
class Head:
    """A checkpoint whose signature holds."""

    origin: str
    size: int
    root: bytes


def open_checkpoint(note: str, vkey: str) -> Head:
    """Check the signature of the log's key under a checkpoint; those of other keys are passed over."""
    name, key_id, encoded = vkey.split("+", 2)
    typed = base64.b64decode(encoded, validate=True)
    assert sha256(name.encode() + b"\n" + typed).hexdigest()[:8] == key_id
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    assert lines.endswith("\n")
    known = []
    for line in lines.removesuffix("\n").split("\n"):
        dash, signer, blob = line.split(" ")
        assert dash == "\u2014"
        signature = base64.b64decode(blob, validate=True)
        known += [signature[4:]] if (signer, signature[:4].hex()) == (name, key_id) else []
    assert len(known) == 1
    assert typed[:1] == b"\x01"
    Ed25519PublicKey.from_public_bytes(typed[1:]).verify(known[0], text.encode())
    origin, size, root = text.splitlines()
    return Head(origin, int(size), base64.b64decode(root, validate=True))


def format_place(number: int) -> str:
    """A tile's number as a path: groups of three digits."""
    groups = f"{number % 1000:03}"
    while number := number // 1000:
        groups = f"x{number % 1000:03}/{groups}"
    return groups


@dataclass
class Log:
    """A log read through `get`, which gives the body at a path below `/v1/audit/log/`."""

    get: Callable[[str], bytes]

    def hashes(self, level: int, size: int) -> list[bytes]:
        """All hashes of a level of the tree of this size, from its tiles."""
        count = size >> 8 * level
        data = b"".join(self.get(f"tile/{level}/{format_place(number)}") for number in range(count // 256))
        if count % 256:
            data += self.get(f"tile/{level}/{format_place(count // 256)}.p/{count % 256}")
        assert len(data) == 32 * count
        return [data[at : at + 32] for at in range(0, len(data), 32)]

    def leaves(self, size: int) -> list[bytes]:
        """All entries of the tree of this size, from its bundles."""
        data = b"".join(self.get(f"tile/entries/{format_place(number)}") for number in range(size // 256))
        if size % 256:
            data += self.get(f"tile/entries/{format_place(size // 256)}.p/{size % 256}")
        found = []
        while data:
            length = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + length])
            assert len(found[-1]) == length
            data = data[2 + length :]
        assert len(found) == size
        return found

    def root(self, size: int) -> bytes:
        """The root of the tree of this size from its tiles, those of the leaves only where no higher tile helps."""
        levels = [self.hashes(level, size) for level in range(3)]

        def over(start: int, end: int) -> bytes:
            for level in (2, 1, 0):
                span = 256**level
                if end - start == span and start % span == 0:
                    return levels[level][start // span]
            half = 1 << (end - start - 1).bit_length() - 1
            return hash_node(over(start, start + half), over(start + half, end))

        return over(0, size)


def compute_root(hashes: list[bytes]) -> bytes:
    """The root over leaf hashes."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return hash_node(compute_root(hashes[:half]), compute_root(hashes[half:]))


def is_included(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2."""
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = hash_node(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = hash_node(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2, for 0 < old < new."""
    if old & (old - 1) == 0:
        path = [old_root, *path]
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = hash_node(sibling, first), hash_node(sibling, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = hash_node(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and (first, second) == (old_root, new_root)


def check_proof(proof: str, leaf: bytes, vkey: str) -> Head:
    """Check a `.tlog-proof` of one entry."""
    head, _, note = proof.partition("\n\n")
    first, index, *path = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    opened = open_checkpoint(note, vkey)
    hashes = [base64.b64decode(line, validate=True) for line in path]
    number = int(index.removeprefix("index "))
    assert is_included(number, opened.size, hash_leaf(leaf), hashes, opened.root)
    return opened
