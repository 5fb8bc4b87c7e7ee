"""Tests of the audit plugin's storage."""
