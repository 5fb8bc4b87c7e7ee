"""Tests of the core's policies."""
