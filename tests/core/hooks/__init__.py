"""Tests of the core's hooks."""
