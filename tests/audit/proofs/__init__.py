"""Tests of the audit plugin's proofs."""
