"""Tests of the audit plugin's retention."""
