"""Sealing: committed entries become leaves of the tree, and its size is signed, by one process at a time.

`sealer` does it, upon the `edge` of the tree, and `overdue` looks for what it left; `signer` says whose turn it is to
sign; `keys` are the files beside the database, and `key_chain` says which of the database's keys are to be believed;
`rotation` changes the key. A `removal` is what the key signs when entries go.
"""
