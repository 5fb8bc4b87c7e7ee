"""A transparency log in pure functions over bytes: hashes, the tree, tiles, signed notes, checkpoints and proofs.

Each module follows one public specification and says which, so the two can be read side by side:

- `hashing`        RFC 6962 section 2.1: how leaves and nodes are hashed
- `tree`           RFC 9162 section 2.1: roots, inclusion and consistency proofs
- `tiles`          C2SP tlog-tiles: the tree and its entries as files that never change
- `tile_writer`    C2SP tlog-tiles: writing those files while the tree grows
- `verified_tiles` C2SP tlog-tiles: reading those files against a signed root
- `note`           C2SP signed-note: text signed with Ed25519 keys
- `checkpoint`     C2SP tlog-checkpoint: a tree's size and root as the text of a note
- `proof`          C2SP tlog-proof: one entry proved offline
- `multiproof`     several entries proved at once, in a form of our own
- `leaf`           the canonical text of an entry, which is what a leaf hashes
- `encoding`       numbers and base64 that have exactly one spelling

Nothing here reads a clock, a file or a database. Whatever is refused is refused with an `errors.LogError`.
"""
