"""Tests of the core's commands."""
