"""Verification: whether everything holds that the log promises, and if not, what is wrong and where.

`verifying` goes through the log once, over what `reading` gives it; `marks` compares what was signed; `repairing`
tells which of a tile's hashes are right where entries and tile disagree; `explaining` says what became of an entry
that does not match. All of it ends in the `findings` of one report.
"""
