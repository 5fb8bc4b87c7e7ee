"""Tests of the core, folder by folder as it is built."""
