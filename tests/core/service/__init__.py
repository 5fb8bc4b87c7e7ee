"""Tests of the core's service."""
