"""Tests of the core's agents."""
