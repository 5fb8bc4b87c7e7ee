"""Sealing: committed entries become leaves of the tree, and its size is signed, by one process at a time.

`sealer` does it, over the `stored_tree`; `signing` says who may sign now; `watch` calls it and tells what stands in its
way; `forks` sets the key aside of a log that gave way to another one.
"""
