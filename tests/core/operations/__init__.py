"""Tests of the core's operations."""
