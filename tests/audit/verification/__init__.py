"""Tests of the audit plugin's verification."""
