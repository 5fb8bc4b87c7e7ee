"""Tests of the audit plugin's export."""
