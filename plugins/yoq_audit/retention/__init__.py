"""Retention: old entries are pruned and single ones erased, and everything that was ever signed still holds.

An announcement comes first: an entry `audit_prune` or `audit_erase`, signed with the log's key and sealed like any
other. Only then do rows vanish, and only those that it names. So no crash leaves a row missing that no entry speaks of,
and what was begun is finished later: within a minute while serving, or by the next of these commands. The leaf hashes
and the tree over them stay, so that every checkpoint and proof still verifies.
"""
