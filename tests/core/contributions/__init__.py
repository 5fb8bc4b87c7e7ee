"""Tests of the core's contributions."""
