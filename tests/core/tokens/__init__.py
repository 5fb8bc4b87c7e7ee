"""Tests of the core's tokens."""
