"""Tests of the audit plugin's tlog."""
