"""Reconciliation: which of two versions of a tile's hashes is right, computed from the entries or stored as a tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from yoq_audit.tlog.hashes import HASH_SIZE

MIXED = 8
"""Up to so many differing hashes are tried in every mixture."""

UNKNOWN = bytes(HASH_SIZE)
"""In the place of a hash that is nowhere to be found."""


@dataclass(frozen=True)
class Reconciliation:
    """The hashes that were chosen, and the positions at which either version has others."""

    leaves: list[bytes]
    wrongly_computed: list[int]
    wrongly_kept: list[int]


def reconcile(
    computed: Sequence[bytes | None], kept: Sequence[bytes | None], fits: Callable[[list[bytes]], bool]
) -> Reconciliation:
    """Choose at each position one of the two versions, so that all together fit; if none do, the kept ones."""
    differing = [at for at, pair in enumerate(zip(computed, kept, strict=True)) if pair[0] != pair[1] or not pair[0]]
    base = [mine or theirs or UNKNOWN for mine, theirs in zip(kept, computed, strict=True)]
    leaves = base
    if not fits(base):
        mixtures = (
            product((True, False), repeat=len(differing))
            if len(differing) <= MIXED
            else iter([(True,) * len(differing)])
        )
        for mixture in mixtures:
            tried = list(base)
            for at, take in zip(differing, mixture, strict=True):
                if take:
                    tried[at] = computed[at] or base[at]
            if fits(tried):
                leaves = tried
                break
    return Reconciliation(
        leaves,
        [at for at in differing if computed[at] != leaves[at]],
        [at for at in differing if kept[at] is not None and kept[at] != leaves[at]],
    )
