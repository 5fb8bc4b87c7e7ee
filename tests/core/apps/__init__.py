"""Tests of the core's apps."""
