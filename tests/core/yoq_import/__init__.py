"""Tests of the core's import from yoq."""
