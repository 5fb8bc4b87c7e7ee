"""Verification: whether everything holds that the log promises, and if not, what is wrong and where.

`checker` goes through the log once, over what `reader` gives it; `checkpoints` compares what was signed, and
`removed_places` says which places may be empty; `reconciliation` decides which of a tile's hashes are right where
entries and tile disagree; `diagnosis` says what became of an entry that does not match, and `rows` looks for those that
the schema forbids. All of it ends in one `report`.
"""
