"""The Merkle tree: published vectors, and proofs against the naive definitions for every size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.naive_tlog import NaiveLog, numbered
from yoq_audit.tlog.codec import decode_base64
from yoq_audit.tlog.errors import ProofError
from yoq_audit.tlog.hashes import EMPTY_ROOT, hash_leaf, hash_node
from yoq_audit.tlog.tree import (
    Frontier,
    compute_root,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)

LOG = numbered(600)
LEAVES = LOG.leaf_hashes(600)
CLASSIC = NaiveLog(
    [
        bytes.fromhex(leaf)
        for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    ]
)
CLASSIC_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
sizes = st.integers(1, 600)


def abbreviated(path: list[bytes], expected: str) -> bool:
    """Whether the hashes are those written `aaaa…bbbb`."""
    wanted = [part.split("…") for part in expected.split()]
    return len(path) == len(wanted) and all(
        node.hex().startswith(start) and node.hex().endswith(end)
        for node, (start, end) in zip(path, wanted, strict=True)
    )


def test_hashing_vectors() -> None:
    """Leaves and nodes hash as the published vectors say, with different prefixes."""
    assert hash_leaf(b"hello world") == decode_base64("TszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=")
    assert EMPTY_ROOT.hex() == CLASSIC_ROOTS[0]
    assert hash_leaf(b"").hex() == CLASSIC_ROOTS[1]
    assert hash_node(hash_leaf(b""), hash_leaf(b"\x00")).hex() == CLASSIC_ROOTS[2]


def test_the_classic_trees_roots() -> None:
    """The tree of eight leaves that every implementation is tested with has the known root at each size."""
    leaves = [hash_leaf(entry) for entry in CLASSIC.entries]
    frontier = Frontier()
    for size, root in enumerate(CLASSIC_ROOTS):
        extended = Frontier()
        extended.extend(leaves[:size])
        assert frontier.root.hex() == extended.root.hex() == compute_root(size, CLASSIC.subtree).hex() == root
        if size < 8:
            frontier.append(leaves[size])


def test_the_classic_trees_proofs() -> None:
    """The proofs of the same tree are the known ones."""
    subtree = CLASSIC.subtree
    assert abbreviated(prove_inclusion(0, 8, subtree), "96a296d2…cfc7 5f083f0a…031e 6b47aaf2…f6e4")
    assert abbreviated(prove_inclusion(5, 8, subtree), "bc1a0643…e6b ca854ea1…0ae0 d37ee418…14b7")
    assert abbreviated(prove_inclusion(2, 3, subtree), "fac54203…c125")
    assert abbreviated(prove_consistency(1, 8, subtree), "96a296d2… 5f083f0a… 6b47aaf2…")
    assert abbreviated(prove_consistency(6, 8, subtree), "0ebc5d34…ef6a ca854ea1…0ae0 d37ee418…14b7")
    assert abbreviated(prove_consistency(2, 5, subtree), "5f083f0a…031e bc1a0643…9e6b")


def test_every_root_is_the_naive_one() -> None:
    """Appending one by one, resuming from the edge and computing from subtrees give the defined root at every size."""
    frontier = Frontier()
    for size in range(601):
        expected = LOG.mth(0, size)
        assert frontier.size == size
        assert frontier.root == compute_root(size, LOG.subtree) == expected
        frontier = Frontier(frontier.size, frontier.hashes)
        if size < 600:
            frontier.append(LEAVES[size])


def test_every_inclusion_proof_is_the_naive_one() -> None:
    """For each leaf of each size up to 140 the path is the defined one and verifies."""
    for size in range(1, 141):
        for index in range(size):
            path = prove_inclusion(index, size, LOG.subtree)
            assert path == LOG.path(index, size)
            verify_inclusion(index, size, LEAVES[index], path, LOG.mth(0, size))


def test_every_consistency_proof_is_the_naive_one() -> None:
    """Between any two sizes up to 140 the path is the defined one and verifies."""
    for new in range(141):
        for old in range(new + 1):
            path = prove_consistency(old, new, LOG.subtree)
            assert path == LOG.proof(old, new)
            verify_consistency(old, new, LOG.mth(0, old), LOG.mth(0, new), path)


def mangled(path: list[bytes], draw: st.DataObject) -> list[bytes]:
    """The path with one thing done to it; sometimes that is nothing."""
    at = draw.draw(st.integers(0, max(0, len(path) - 1)))
    what = draw.draw(st.sampled_from(("nothing", "flip", "drop", "repeat", "swap", "insert", "shorten", "empty")))
    changed = list(path)
    if what == "insert":
        changed.insert(at, draw.draw(st.sampled_from(LEAVES)))
    elif what == "empty":
        changed = []
    elif path and what == "flip":
        byte = draw.draw(st.integers(0, 31))
        changed[at] = (
            path[at][:byte] + bytes([path[at][byte] ^ 1 << draw.draw(st.integers(0, 7))]) + path[at][byte + 1 :]
        )
    elif path and what == "drop":
        del changed[at]
    elif path and what == "repeat":
        changed.insert(at, path[at])
    elif path and what == "swap":
        changed[0], changed[at] = changed[at], changed[0]
    elif path and what == "shorten":
        changed[at] = path[at][:-1]
    return changed


def accepts_inclusion(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """Whether the proof is accepted."""
    try:
        verify_inclusion(index, size, leaf, path, root)
    except ProofError:
        return False
    return True


def accepts_consistency(old: int, new: int, path: list[bytes]) -> bool:
    """Whether the proof is accepted between the true roots."""
    try:
        verify_consistency(old, new, LOG.mth(0, old), LOG.mth(0, new), path)
    except ProofError:
        return False
    return True


@settings(deadline=None, max_examples=300)
@given(data=st.data(), size=sizes, other=sizes)
def test_only_the_right_path_proves_inclusion(data: st.DataObject, size: int, other: int) -> None:
    """A path is accepted for an index and a size with its true root exactly if it is the defined one."""
    index = data.draw(st.integers(0, size - 1))
    path = mangled(LOG.path(index, size), data)
    assert accepts_inclusion(index, size, LEAVES[index], path, LOG.mth(0, size)) == (path == LOG.path(index, size))
    claimed = data.draw(st.integers(0, other - 1))
    leaf = data.draw(st.sampled_from((LEAVES[index], LEAVES[claimed])))
    right = path == LOG.path(claimed, other) and leaf == LEAVES[claimed]
    assert accepts_inclusion(claimed, other, leaf, path, LOG.mth(0, other)) == right


@settings(deadline=None, max_examples=300)
@given(data=st.data(), new=st.integers(0, 600), other=st.integers(0, 600))
def test_only_the_right_path_proves_consistency(data: st.DataObject, new: int, other: int) -> None:
    """A path is accepted between two sizes with their true roots exactly if it is the defined one."""
    old = data.draw(st.integers(0, new))
    path = mangled(LOG.proof(old, new), data)
    assert accepts_consistency(old, new, path) == (path == LOG.proof(old, new))
    claimed = data.draw(st.integers(0, other))
    assert accepts_consistency(claimed, other, path) == (path == LOG.proof(claimed, other))


def test_another_leaf_or_index_is_refused() -> None:
    """In every tree up to size 40 a leaf's path proves no other index and no other leaf."""
    for size in range(1, 41):
        for index in range(size):
            path, root = LOG.path(index, size), LOG.mth(0, size)
            for other in range(size):
                assert accepts_inclusion(other, size, LEAVES[index], path, root) == (other == index)
                assert accepts_inclusion(index, size, LEAVES[other], path, root) == (other == index)


def test_a_root_under_another_size() -> None:
    """A root claimed for a size whose proofs are shorter or longer is refused, though its own proof is given."""
    roots = {size: LOG.mth(0, size) for size in (4, 8, 16)}
    for size in (2, 4, 16, 32):
        for index in (0, size - 1):
            leaf = 7 if index else 0
            assert not accepts_inclusion(index, size, LEAVES[leaf], LOG.path(leaf, 8), roots[8])
    for true, claimed in ((4, 8), (8, 4), (8, 16), (16, 8)):
        with pytest.raises(ProofError, match=r"too (few|many)"):
            verify_consistency(2, claimed, LOG.mth(0, 2), roots[true], LOG.proof(2, true))


def test_a_fork_is_refused() -> None:
    """Two trees that differ in one early entry have no consistency proof between them, from any size to any other."""
    fork = NaiveLog([b"forged", *LOG.entries[1:40]])
    for new in range(1, 40):
        for old in range(1, new + 1):
            for path in (LOG.proof(old, new), fork.proof(old, new)):
                with pytest.raises(ProofError):
                    verify_consistency(old, new, LOG.mth(0, old), fork.mth(0, new), path)


def test_size_zero() -> None:
    """From size 0 the empty proof holds and no other; the empty tree has one root only."""
    root = LOG.mth(0, 7)
    assert prove_consistency(0, 7, LOG.subtree) == []
    verify_consistency(0, 7, EMPTY_ROOT, root, [])
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    for old_root, new, new_root, path in (
        (EMPTY_ROOT, 7, root, [root]),
        (root, 7, root, []),
        (root, 0, root, []),
        (EMPTY_ROOT, 0, root, []),
    ):
        with pytest.raises(ProofError):
            verify_consistency(0, new, old_root, new_root, path)


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (9, 8), (0, 0), (0, -1), (0, 2**64)])
def test_indexes_outside_the_tree(index: int, size: int) -> None:
    """An index that the tree does not have, or a size beyond 64 bits, is refused in making and in checking proofs."""
    with pytest.raises(ProofError):
        prove_inclusion(index, size, LOG.subtree)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(-1, 8), (9, 8), (1, 0), (1, 2**64)])
def test_sizes_out_of_order(old: int, new: int) -> None:
    """A tree does not begin with a larger one, or with one of a negative size."""
    with pytest.raises(ProofError):
        prove_consistency(old, new, LOG.subtree)
    with pytest.raises(ProofError):
        verify_consistency(old, new, LEAVES[0], LEAVES[1], [])


def test_hashes_of_other_lengths() -> None:
    """A hash that is not 32 bytes long is refused wherever it stands."""
    root, short = LOG.mth(0, 2), LEAVES[0][:-1]
    for leaf, path, top in ((short, [LEAVES[1]], root), (LEAVES[0], [short], root), (LEAVES[0], [LEAVES[1]], short)):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_inclusion(0, 2, leaf, path, top)
    for old_root, path, top in (
        (short, [LEAVES[1]], root),
        (LEAVES[0], [short], root),
        (LEAVES[0], [LEAVES[1]], short),
    ):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_consistency(1, 2, old_root, top, path)


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 0), (3, 1), (4, 2), (-1, 64), (2**64, 1)])
def test_an_edge_must_fit_its_size(size: int, count: int) -> None:
    """An edge has one hash for each complete subtree of its size; any other number is refused."""
    with pytest.raises(ValueError, match="not the edge"):
        Frontier(size, [LEAVES[0]] * count)


def test_an_edge_of_short_hashes() -> None:
    """An edge with a hash of another length is refused."""
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier(1, [b"short"])


def test_a_source_that_breaks_leaves_a_whole_tree() -> None:
    """If the leaf hashes stop with an error, the tree holds exactly those that came before."""

    def source() -> object:
        yield from LEAVES[:11]
        raise OSError

    frontier = Frontier()
    with pytest.raises(OSError):  # noqa: PT011 - this very one
        frontier.extend(source())  # type: ignore[arg-type]
    assert (frontier.size, frontier.root) == (11, LOG.mth(0, 11))
