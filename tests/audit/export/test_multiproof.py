"""One proof for several leaves, against the tree by its definitions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.naive_tlog import NaiveLog
from yoq_audit.tlog.errors import ProofError
from yoq_audit.tlog.multiproof import fold, prove

LOG = NaiveLog([b"%d" % number for number in range(600)])

TREES = st.integers(1, 600).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1, max_size=40))
)


@settings(max_examples=100, deadline=None)
@given(tree=TREES, data=st.data())
def test_a_proof_leads_to_the_root_and_to_nothing_else(tree: tuple[int, set[int]], data: st.DataObject) -> None:
    """It gives the tree's root and each leaf; with a hash changed, left out, added or moved it does not."""
    size, chosen = tree
    places = sorted(chosen)
    hashes = prove(places, size, LOG.subtree)
    root, leaves = fold(places, size, hashes)
    assert root == LOG.mth(0, size)
    assert leaves == [LOG.mth(place, place + 1) for place in places]

    at = data.draw(st.integers(0, len(hashes) - 1))
    changed = [bytes([found[0] ^ 1]) + found[1:] if number == at else found for number, found in enumerate(hashes)]
    assert fold(places, size, changed)[0] != root
    for wrong in (hashes[:-1], [*hashes, hashes[0]], [*hashes[:-1], hashes[-1][:31]]):
        with pytest.raises(ProofError):
            fold(places, size, wrong)
    if len(hashes) > 1:
        assert fold(places, size, [*hashes[1:], hashes[0]])[0] != root
    other = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=40))
    try:
        found, others = fold(sorted(other), size, hashes)
    except ProofError:
        return
    # It may prove other places too, where leaves were among the hashes between; never a leaf that is not there.
    assert found != root or others == [LOG.mth(place, place + 1) for place in sorted(other)]


def test_places_that_a_tree_does_not_have_are_refused() -> None:
    """No leaves, leaves out of order, twice, or beyond the tree: ProofError."""
    for places in ([], [1, 1], [2, 1], [-1], [4]):
        with pytest.raises(ProofError):
            fold(places, 4, [b"0" * 32] * 4)
        with pytest.raises(ProofError):
            prove(places, 4, LOG.subtree)
