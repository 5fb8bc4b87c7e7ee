"""Tests of the core's database."""
