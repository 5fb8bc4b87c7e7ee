"""Tests of the core's secrets."""
