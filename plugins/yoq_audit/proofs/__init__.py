"""Proofs: what is handed out over the tree, over HTTP and in files, and how an entry is checked against it."""
