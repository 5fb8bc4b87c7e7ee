"""Tests of the audit plugin, folder by folder as it is built."""
