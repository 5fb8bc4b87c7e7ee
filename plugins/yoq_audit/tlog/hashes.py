"""Hashes of leaves and nodes: RFC 6962 section 2.1 (RFC 9162 section 2.1.1) with SHA-256."""

from __future__ import annotations

from hashlib import sha256

HASH_SIZE = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"
"""Different prefixes, so that no leaf can be passed off as a node or a node as a leaf."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves: the hash of nothing."""


def hash_leaf(data: bytes) -> bytes:
    """Hash an entry: SHA-256(0x00 || data)."""
    return sha256(LEAF_PREFIX + data).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Hash a node over its two children: SHA-256(0x01 || left || right)."""
    return sha256(NODE_PREFIX + left + right).digest()
