"""Tests of the audit plugin's query."""
