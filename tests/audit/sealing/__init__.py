"""Tests of the audit plugin's sealing."""
